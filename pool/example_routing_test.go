package pool_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/routing"
)

func ExamplePool_Routed() {
	p, stop := startPool()
	defer stop()
	client := grpc_testing.NewTestServiceClient(p.Routed(routing.NewRendezvous()))

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	reply, err := client.UnaryCall(routing.WithKey(ctx, "key 1"), digest("invoice 7"))
	if err != nil {
		log.Fatal(err) // while the key's enclave is away: ErrUnavailable, and when to try again
	}
	fmt.Printf("%s\n", reply.Payload.Body)
	// Output: signature of invoice 7
}

func ExampleStreams_Routed() {
	p, stop := startPool()
	defer stop()
	streams := pool.NewStreams(p, openDuplex).Routed(routing.NewRendezvous(routing.WithSpill(1)))

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	reply, err := streams.Exchange(routing.WithKey(ctx, "key 1"), message("invoice 7"))
	fmt.Printf("%s, %v\n", reply.GetPayload().GetBody(), err)
	// Output: invoice 7, <nil>
}

func ExamplePool_View() {
	p, stop := startPool()
	defer stop()
	for _, m := range p.View().Members() {
		fmt.Printf("%s: %v, weight %d, epoch %d, %d of %d in flight\n", m.ID, m.State, m.Weight, m.Epoch, m.InFlight, m.Capacity)
	}
	// Output: a: healthy, weight 1, epoch 1, 0 of 400 in flight
}

func ExamplePool_Cordon() {
	p, stop := startPool()
	defer stop()
	if err := p.Cordon("a"); err != nil { // it keeps its keys and gets no new ones
		log.Fatal(err)
	}
	m, _ := p.View().Member("a")
	fmt.Println("cordoned:", m.Cordoned)
	if err := p.Uncordon("a"); err != nil {
		log.Fatal(err)
	}
	m, _ = p.View().Member("a")
	fmt.Println("cordoned:", m.Cordoned)
	// Output:
	// cordoned: true
	// cordoned: false
}

func ExamplePool_Events() {
	p, stop := startPool()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		if err := p.Drain(ctx, "a"); err != nil {
			log.Print(err)
		}
	}()
	for ev := range p.Events(ctx) { // first how things stand, then every change
		if ev.Conn == -1 && ev.To == breaker.Draining {
			fmt.Println(ev.EnclaveID, "is", ev.To) // time to route around it
			break
		}
	}
	// Output: a is draining
}

func ExamplePool_Update() {
	p, stop := startPool()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	other, stopOther := startEnclave(&signer{})
	defer stopOther()

	cfg := exampleConfig() // read anew, from wherever it comes
	cfg.Enclaves = []pool.Enclave{{ID: "b", Target: other}}
	if err := p.Update(cfg); err != nil {
		log.Fatal(err) // what is wrong with it; nothing has changed
	}
	if err := p.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	for id, s := range p.Stats().Enclaves {
		fmt.Println(id, s.HealthyConns)
	}
	// Output: b 4
}
