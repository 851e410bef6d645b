package recovery

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"
)

// A Result is the outcome of one trial on one system.
type Result struct {
	Trial   int     `json:"trial"`
	System  string  `json:"system"`
	Groups  []Group `json:"groups,omitempty"`
	Retries int     `json:"retries"`         // publishes that had to be repeated
	Error   string  `json:"error,omitempty"` // why the trial could not be run; empty if it was
}

// A Group is one group of clients of a trial.
type Group struct {
	Name string `json:"name,omitempty"` // empty if the trial has one group
	Count
	Notes map[string]int `json:"notes,omitempty"` // what the clients reported, and how often
}

// A Report holds all results, one per trial and system.
type Report struct {
	Taken    time.Time         `json:"taken"`
	Machine  string            `json:"machine"`
	Clients  int               `json:"clients"`
	Versions map[string]string `json:"versions"`
	Results  []Result          `json:"results"`
}

// set adds a result, or replaces the one of the same trial and system.
func (r *Report) set(result Result) {
	for i, old := range r.Results {
		if old.Trial == result.Trial && old.System == result.System {
			r.Results[i] = result
			return
		}
	}
	r.Results = append(r.Results, result)
}

// find returns a trial's result on a system.
func (r *Report) find(trial int, system string) (Result, bool) {
	for _, result := range r.Results {
		if result.Trial == trial && result.System == system {
			return result, true
		}
	}
	return Result{}, false
}

// load reads the results of an earlier run. A missing file counts as empty.
func (r *Report) load(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var earlier Report
	if err := json.Unmarshal(text, &earlier); err != nil {
		return err
	}
	r.Results = earlier.Results
	return nil
}

func (r *Report) save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
