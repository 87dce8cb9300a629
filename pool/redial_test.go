package pool

import (
	"testing"
	"time"
)

func TestWhenALostConnectionsPlaceIsDialledAgain(t *testing.T) {
	for _, c := range []struct {
		loss
		want redial
	}{
		// It has shown that it is of use: what happens elsewhere does not matter.
		{loss{age: time.Hour, useful: true}, atOnce},
		{loss{age: time.Hour}, atOnce},
		{loss{age: fleeting, useful: true}, atOnce},
		{loss{age: settled + 1}, atOnce},
		{loss{age: settled + 1, healthy: true}, atOnce},
		// It died young.
		{loss{age: settled, healthy: true}, ifAllowed},
		{loss{age: fleeting, healthy: true}, ifAllowed},
		{loss{age: fleeting - 1, useful: true, healthy: true}, ifAllowed},
		{loss{healthy: true}, ifAllowed},
		// So did all others.
		{loss{age: settled}, afterBackoff},
		{loss{age: fleeting - 1, useful: true}, afterBackoff},
		{loss{}, afterBackoff},
	} {
		if got := c.redial(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.loss, got, c.want)
		}
	}
}

func TestTheAllowanceCoversAnEnclaveOnceAndThenFewASecond(t *testing.T) {
	a := newAllowance()
	began := time.Now()
	granted := func(at time.Duration) (n int) {
		for a.AllowN(began.Add(at), 1) {
			n++
		}
		return n
	}
	if n := granted(0); n != 32 {
		t.Errorf("%d at once, want 32", n)
	}
	var n int
	for at := time.Duration(0); at < time.Minute; at += time.Millisecond {
		n += granted(at)
	}
	if perSecond := float64(n) / 60; perSecond < 24 || perSecond > 50 {
		t.Errorf("%.1f a second after that", perSecond)
	}
}
