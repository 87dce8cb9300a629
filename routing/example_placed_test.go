package routing_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/memdir"
)

// Whoever makes a key says so; everybody else finds it where it was made.
func ExampleNewPlaced() {
	directory := memdir.New() // boltdir.Open for one gateway, etcddir.New for several
	defer directory.Close()
	placed := routing.NewPlaced(routing.NewRendezvous(), directory)
	defer placed.Close()

	ctx := context.Background()
	two := routing.NewView(1, routing.Member{ID: "enclave-0"}, routing.Member{ID: "enclave-1"})
	_, err := placed.Select(ctx, two, "invoice-7")
	fmt.Println("before it is made:", errors.Is(err, routing.ErrNotPlaced))

	made, err := placed.Select(routing.WithPlacing(ctx), two, "invoice-7")
	fmt.Println("made:", err)

	joined := routing.NewView(2, append(two.Members(), routing.Member{ID: "enclave-2"}, routing.Member{ID: "enclave-3"})...)
	found, err := placed.Select(ctx, joined, "invoice-7")
	fmt.Println("after others joined:", found == made, err)
	// Output:
	// before it is made: true
	// made: <nil>
	// after others joined: true <nil>
}

// A key that was carried over to another enclave by other means is told to live
// there, if it has not moved meanwhile.
func ExampleDirectory_move() {
	ctx := context.Background()
	var directory routing.Directory = memdir.New()
	at, _, _ := directory.Place(ctx, "invoice-7", "enclave-0") // a memdir that is open does not fail
	moved, err := directory.Move(ctx, at, "enclave-1")
	fmt.Println(moved.EnclaveID, err)
	_, err = directory.Move(ctx, at, "enclave-2")
	fmt.Println(errors.Is(err, routing.ErrConflict))
	// Output:
	// enclave-1 <nil>
	// true
}
