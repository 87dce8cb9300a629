package routing_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

// draws returns a function that draws 1, 2, … and counts.
func draws() (draw func() string, drawn *int) {
	drawn = new(int)
	return func() string { *drawn++; return fmt.Sprintf("drawn-%d", *drawn) }, drawn
}

func TestANewKeyIsOneThatACordonedEnclaveDoesNotOwn(t *testing.T) {
	v := routing.NewView(1, members(4, equal)...)
	for _, id := range []string{"enclave-0", "enclave-1", "enclave-2"} {
		v = changed(v, id, cordon)
	}
	for _, sel := range []routing.Selector{routing.NewRendezvous(), routing.NewSticky(routing.NewRendezvous()), routing.NewLeastLoaded()} {
		draw, _ := draws()
		for range 50 {
			key, id, err := routing.NewKey(t.Context(), v, sel, draw)
			if err != nil || id != "enclave-3" || pick(t, sel, v, key) != id {
				t.Fatalf("key %q for %q, %v", key, id, err)
			}
		}
	}
}

func TestANewKeyIsNotOneOfAnEnclaveThatIsOut(t *testing.T) {
	v := changed(changed(routing.NewView(1, members(3, equal)...), "enclave-0", state(breaker.Degraded)), "enclave-1", state(breaker.Draining))
	draw, drawn := draws()
	for range 50 {
		if key, id, err := routing.NewKey(t.Context(), v, routing.NewRendezvous(), draw); err != nil || id != "enclave-2" {
			t.Fatalf("key %q for %q, %v", key, id, err)
		}
	}
	if *drawn < 100 {
		t.Errorf("%d draws for 50 keys of one enclave in three", *drawn)
	}
}

func TestDrawingANewKeyEnds(t *testing.T) {
	v := routing.NewView(1, members(2, equal)...)
	for _, c := range []struct {
		what   string
		change func(*routing.Member)
		want   error
	}{
		{"all cordoned", cordon, routing.ErrNoMember},
		{"all out", state(breaker.Degraded), routing.ErrOwnerUnavailable},
	} {
		draw, drawn := draws()
		v := changed(changed(v, "enclave-0", c.change), "enclave-1", c.change)
		key, id, err := routing.NewKey(t.Context(), v, routing.NewRendezvous(), draw)
		if key != "" || id != "" || !errors.Is(err, c.want) || *drawn != 256 {
			t.Errorf("%s: %q, %q, %v after %d draws; want %v after 256", c.what, key, id, err, *drawn, c.want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for want, err := range map[error]error{
		context.Canceled: func() error {
			_, _, err := routing.NewKey(ended, v, routing.NewRendezvous(), func() string { return "k" })
			return err
		}(),
		routing.ErrNoKey: func() error {
			_, _, err := routing.NewKey(t.Context(), v, routing.NewRendezvous(), func() string { return "" })
			return err
		}(),
		routing.ErrNoMember: func() error {
			_, _, err := routing.NewKey(t.Context(), routing.NewView(1), routing.NewRendezvous(), func() string { return "k" })
			return err
		}(),
	} {
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}
