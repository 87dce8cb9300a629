package pool

import (
	"testing"

	"github.com/enclavepool/enclavepool/breaker"
)

func TestEventsNotTakenAreOneForEachSubject(t *testing.T) {
	var h events
	s := h.subscribe()
	const subjects = 17 // an enclave and its connections
	for seq := range uint64(100 * subjects) {
		h.publish(breaker.Event{EnclaveID: "a", Conn: int(seq%subjects) - 1, Seq: seq})
	}
	batch, _ := h.take(s)
	if len(batch) != subjects || len(h.latest) != subjects {
		t.Fatalf("%d events wait and %d are kept, want %d of each", len(batch), len(h.latest), subjects)
	}
	for _, ev := range batch {
		if ev.Seq < 99*subjects {
			t.Errorf("event %d is not the latest of connection %d", ev.Seq, ev.Conn)
		}
	}
}
