package routing_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

var background = context.Background()

func ExampleNewRendezvous() {
	strict := routing.NewRendezvous() // or routing.NewRendezvous(routing.Strict)
	v := routing.NewView(1, routing.Member{ID: "a"}, routing.Member{ID: "b", Weight: 2}, routing.Member{ID: "c"})
	owner, err := strict.Select(background, v, "invoice-7")
	fmt.Println(owner, err)

	v = v.Next(2, routing.Member{ID: "a"}, routing.Member{ID: "b", Weight: 2, State: breaker.Degraded}, routing.Member{ID: "c"})
	_, err = strict.Select(background, v, "invoice-7")
	var out *routing.OwnerError
	fmt.Println(errors.Is(err, routing.ErrOwnerUnavailable), errors.As(err, &out), out.EnclaveID, out.State, out.RetryAfter)
	// Output:
	// b <nil>
	// true true b degraded 200ms
}

func ExampleWithSpill() {
	sel := routing.NewRendezvous(routing.WithSpill(1))
	v := routing.NewView(1, routing.Member{ID: "a"}, routing.Member{ID: "b", State: breaker.Degraded}, routing.Member{ID: "c"})
	fmt.Println(sel.Select(background, v, "invoice-7"))
	// Output: a <nil>
}

func ExampleWithLoadBound() {
	sel := routing.NewRendezvous(routing.WithSpill(2), routing.WithLoadBound(1.25))
	for _, inFlight := range []int{50, 90} {
		v := routing.NewView(1,
			routing.Member{ID: "a", InFlight: 40, Capacity: 100},
			routing.Member{ID: "b", InFlight: inFlight, Capacity: 100},
			routing.Member{ID: "c", InFlight: 40, Capacity: 100})
		fmt.Println(sel.Select(background, v, "invoice-7"))
	}
	// Output:
	// b <nil>
	// a <nil>
}

func ExampleWithRetryAfter() {
	sel := routing.NewRendezvous(routing.WithRetryAfter(50 * time.Millisecond))
	v := routing.NewView(1, routing.Member{ID: "a", State: breaker.Draining})
	_, err := sel.Select(background, v, "invoice-7")
	fmt.Println(err)
	// Output: routing: the key's enclave is unavailable: "a" is draining, retry in 50ms
}

func ExampleNewSticky() {
	sel := routing.NewSticky(routing.NewRendezvous(routing.WithSpill(2)),
		routing.WithMaxKeys(10_000), routing.WithMaxAge(time.Minute))
	healthy := []routing.Member{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	lost := []routing.Member{{ID: "a"}, {ID: "b", State: breaker.Degraded}, {ID: "c"}}
	for seq, members := range [][]routing.Member{healthy, lost, healthy} {
		id, err := sel.Select(background, routing.NewView(uint64(seq), members...), "invoice-7")
		fmt.Println(id, err)
	}
	// Output:
	// b <nil>
	// a <nil>
	// a <nil>
}

func ExampleNewLeastLoaded() {
	v := routing.NewView(1,
		routing.Member{ID: "a", InFlight: 10, Capacity: 100},
		routing.Member{ID: "b", InFlight: 15, Capacity: 300})
	fmt.Println(routing.NewLeastLoaded().Select(background, v, ""))
	// Output: b <nil>
}

func ExampleNewKey() {
	v := routing.NewView(1, routing.Member{ID: "a", Cordoned: true}, routing.Member{ID: "b"})
	n := 0
	draw := func() string { n++; return fmt.Sprintf("key-%d", n) } // a UUID, really
	key, owner, err := routing.NewKey(background, v, routing.NewRendezvous(), draw)
	fmt.Println(key, owner, err)
	// Output: key-2 b <nil>
}

func ExampleWithKey() {
	ctx := routing.WithKey(background, "invoice-7")
	fmt.Println(routing.KeyFrom(ctx))
	fmt.Println(routing.KeyFrom(background))
	// Output:
	// invoice-7 true
	//  false
}

func ExampleKeyFrom() {
	key, ok := routing.KeyFrom(routing.WithKey(routing.WithKey(background, "outer"), "inner"))
	fmt.Println(key, ok)
	// Output: inner true
}

func ExampleNewView() {
	v := routing.NewView(4, routing.Member{ID: "b", Weight: 3}, routing.Member{ID: "a"})
	for m := range v.All() {
		fmt.Println(v.Seq(), m.ID, m.Weight, m.State)
	}
	// Output:
	// 4 a 1 healthy
	// 4 b 3 healthy
}

func ExampleView_Next() {
	v := routing.NewView(1, routing.Member{ID: "a"}, routing.Member{ID: "b"})
	members := v.Members()
	members[0].State = breaker.Draining
	next := v.Next(2, members...)
	was, _ := v.Member("a")
	is, _ := next.Member("a")
	fmt.Println(v.Seq(), was.State, next.Seq(), is.State)
	// Output: 1 healthy 2 draining
}

func ExampleOwnerError() {
	var err error = &routing.OwnerError{EnclaveID: "a", State: breaker.Degraded, RetryAfter: 200 * time.Millisecond}
	fmt.Println(errors.Is(err, routing.ErrOwnerUnavailable), err)
	// Output: true routing: the key's enclave is unavailable: "a" is degraded, retry in 200ms
}
