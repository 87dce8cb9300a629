package benchreport

import (
	"errors"
	"strings"
	"time"

	"github.com/go-logfmt/logfmt"
)

// Event is a line of the gateway's log that is about an enclave or a connection of it.
type Event struct {
	At      time.Duration `json:"at_ns"` // since the load's start
	Level   string        `json:"level"`
	Message string        `json:"message"`
	Enclave string        `json:"enclave_id"`
	Conn    string        `json:"conn,omitempty"` // its index
	Cause   string        `json:"cause,omitempty"`
}

// events reads them from a log in slog's text form. Lines that are not of that form, such as
// what a panic leaves, are an error, with the events before.
func events(log string, began time.Time) ([]Event, error) {
	var (
		all  []Event
		errs []error
	)
	d := logfmt.NewDecoder(strings.NewReader(log))
	for d.ScanRecord() {
		var (
			e  Event
			at time.Time
		)
		for d.ScanKeyval() {
			switch value := string(d.Value()); string(d.Key()) {
			case "time":
				var err error
				if at, err = time.Parse(time.RFC3339Nano, value); err != nil {
					errs = append(errs, err)
				}
			case "level":
				e.Level = value
			case "msg":
				e.Message = value
			case "enclave_id":
				e.Enclave = value
			case "conn":
				e.Conn = value
			case "cause":
				e.Cause = value
			}
		}
		if e.Enclave != "" && !at.IsZero() {
			e.At = at.Sub(began)
			all = append(all, e)
		}
	}
	return all, errors.Join(append(errs, d.Err())...)
}

// since returns the events of the load, without those of the start.
func since(all []Event, from time.Duration) []Event {
	var out []Event
	for _, e := range all {
		if e.At >= from {
			out = append(out, e)
		}
	}
	return out
}
