package embedded

import (
	"errors"
	"fmt"

	"github.com/tidemark/tidemark/streams"
)

// stageAll stages the drafts of a request, and sets their receipts.
func (w *writer) stageAll(r *request) {
	for i := range r.drafts {
		var fingerprint [16]byte
		if r.fingerprints != nil {
			fingerprint = r.fingerprints[i]
		}
		r.receipts[i] = w.stage(&r.drafts[i], fingerprint)
	}
}

// stage adds a draft to the batch unless it is a replay or must be refused.
func (w *writer) stage(d *streams.Draft, fingerprint [16]byte) streams.Receipt {
	if err := w.log.store.failed(); err != nil {
		return refused(err)
	}
	durability := streams.Fsynced // also if the draft requests less
	switch {
	case d.Retention.Events == 0:
		durability = 0
	case d.Durability == streams.Replicated:
		return streams.Receipt{Err: fmt.Errorf("%w: the embedded log has no replicas", streams.ErrDurability)}
	}
	var key []byte
	if d.Key != "" {
		key = idempotencyKey(d.Room, d.Key)
		switch known, found, err := w.lookUpKey(key); {
		case err != nil:
			return refused(err)
		case found && known.fingerprint != fingerprint:
			return streams.Receipt{Err: streams.ErrKeyReused}
		case found:
			return streams.Receipt{ID: known.id, Replayed: true, Durability: durability}
		}
	}
	e := &streams.Event{Room: d.Room, Type: d.Type, Data: d.Data, Ephemeral: d.Retention.Events == 0, Trace: d.Trace}
	isNew, err := w.add(e, d)
	switch {
	case errors.Is(err, streams.ErrNewRoom):
		return streams.Receipt{Err: err}
	case err != nil:
		return refused(err)
	}
	if key != nil {
		w.addKey(key, keyRecord{id: e.ID, fingerprint: fingerprint})
	}
	w.events = append(w.events, e)
	return streams.Receipt{ID: e.ID, Durability: durability, NewRoom: isNew}
}

func refused(err error) streams.Receipt {
	return streams.Receipt{Err: fmt.Errorf("%w: %w", streams.ErrRefused, err)}
}

// lookUpKey returns the record of an idempotency key unless it has expired.
func (w *writer) lookUpKey(key []byte) (keyRecord, bool, error) {
	if r, found := w.keys[string(key)]; found {
		return r, true, nil
	}
	r, found, err := w.log.store.key(key)
	return r, found && r.expires > w.now.UnixMilli(), err
}

// addKey adds the record of an idempotency key to the batch.
func (w *writer) addKey(key []byte, r keyRecord) {
	r.expires = w.now.Add(w.log.options.KeyLife).UnixMilli()
	w.keys[string(key)] = r
	op := w.batch.SetDeferred(len(key), keyRecordBytes)
	copy(op.Key, key)
	r.encode(op.Value)
	must(op.Finish())
	w.sweepAt(w.batch, r.expires, key)
}

// add assigns an id to e, the event of d. If e is not ephemeral, add also sets its Prev, adds
// it to the batch, and reports whether its room is new. After an error nothing has changed.
func (w *writer) add(e *streams.Event, d *streams.Draft) (isNew bool, err error) {
	if e.Ephemeral {
		w.ephemeral = true
		e.ID = w.nextID()
		return false, nil
	}
	room, isNew, err := w.openRoom(e.Room, d.ExistingRoom)
	if err != nil {
		return false, err
	}
	e.ID, e.Prev = w.nextID(), room.last
	op := w.batch.SetDeferred(eventKeyBytes(e.Room), eventBytes(e))
	putEventKey(op.Key, e.Room, e.ID)
	encodeEvent(op.Value, e)
	must(op.Finish())

	room.last = e.ID
	room.count++
	room.capacity = uint64(d.Retention.Events)
	room.expires = w.now.Add(d.Retention.Age).UnixMilli()
	return isNew, nil
}

// nextID returns an id after every assigned id, with the clock's time if possible. It
// never has sequence zero, because streams.IDAt(t, 0) is the position before all events of
// that millisecond.
func (w *writer) nextID() streams.ID {
	w.last = streams.Later(w.last, streams.IDAt(w.now, 0)).Next()
	return w.last
}

// openRoom returns the record of a room to which the group adds an event, and whether the
// room is new. It removes expired events first. With mustExist, a new room is an error:
// streams.ErrNewRoom.
func (w *writer) openRoom(name streams.Room, mustExist bool) (room *changedRoom, isNew bool, err error) {
	if room := w.changed[name]; room != nil {
		return room, false, nil
	}
	r, found, err := w.room(name)
	switch {
	case err != nil:
		return nil, false, err
	case !found && mustExist:
		return nil, false, streams.ErrNewRoom
	case !found:
		// Earlier events of the room may have come and gone: the room starts here.
		r.last = w.base()
		r.trimmed = r.last
	}
	if r.count > 0 && r.expired(w.now) {
		if err := w.deleteOldest(w.batch, name, &r, r.count); err != nil {
			return nil, false, err
		}
	}
	room = &changedRoom{roomRecord: r}
	w.changed[name] = room
	return room, !found, nil
}

// base returns the Prev of the first event of a room without a record: see
// streams.Watermarks.Base.
func (w *writer) base() streams.ID {
	return streams.Later(w.log.store.floor, *w.log.unrecordedBefore.Load())
}
