package replay

// Pending returns the data, in bytes, of the events that r holds.
func (r *Reader) Pending() (bytes int) {
	for _, room := range r.ready {
		for _, e := range room.pending {
			if e.event != nil {
				bytes += len(e.event.Data)
			}
		}
	}
	return bytes
}
