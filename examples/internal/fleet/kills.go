package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Victim is what a run kills.
type Victim string

const (
	// TheGateway is killed, one at random where there are several.
	TheGateway Victim = "gateway"
	// TheDirectory is killed: a member of the etcd at random.
	TheDirectory Victim = "etcd"
	// Either of them, at random.
	Either Victim = "gateway or etcd"
)

// Kills says how to disturb the making of keys.
type Kills struct {
	Victim Victim
	// Kills come at so many points, drawn at random among Creates creates of Callers callers.
	Kills, Creates, Callers int
}

// Killed is what came of it.
type Killed struct {
	Kills        int
	Acknowledged int
	// Repeated are calls that failed and were made again.
	Repeated int
	// Keys that are in the enclaves, where it is to be as many as were acknowledged.
	Keys int
	Took time.Duration
}

// Disturb makes keys while it kills and brings back, at random points, and then checks every key that was acknowledged:
// the error says which promise was broken. prefix is that of the keys' names, before how many keys there were.
func (f *Fleet) Disturb(ctx context.Context, k Kills, prefix string) (Killed, error) {
	began := time.Now()
	before, err := f.Keys(ctx)
	if err != nil {
		return Killed{}, err
	}
	c := f.NewCreating(prefix)
	making, stop := context.WithCancel(ctx)
	defer stop()
	made := make(chan struct{})
	go func() {
		defer close(made)
		c.Run(making, k.Creates, k.Callers, 0)
	}()
	var r Killed
	var broken error
	points := make([]int, k.Kills)
	for i := range points {
		points[i] = rand.IntN(k.Creates)
	}
	slices.Sort(points)
	for _, at := range points {
		for c.Acknowledged.Load() < int64(at) && making.Err() == nil && len(c.Broken()) == 0 {
			wait(making, time.Millisecond)
		}
		if broken = f.killOne(ctx, k.Victim); broken != nil {
			stop()
			break
		}
		r.Kills++
	}
	<-made
	r.Acknowledged, r.Repeated = int(c.Acknowledged.Load()), int(c.Refused.Load())
	keys := c.Keys()
	broken = errors.Join(append(c.Broken(), broken, ctx.Err())...)
	if broken == nil && len(keys) != k.Creates {
		broken = fmt.Errorf("%d of %d keys were acknowledged", len(keys), k.Creates)
	}
	if broken == nil {
		broken = f.Verify(ctx, keys)
	}
	after, err := f.Keys(ctx)
	r.Keys = after - before
	if broken == nil && r.Keys != len(keys) {
		broken = fmt.Errorf("%d keys were acknowledged, and the enclaves have %d: some name has two", len(keys), r.Keys)
	}
	r.Took = time.Since(began)
	return r, errors.Join(broken, err)
}

// killOne kills a process and brings it back.
func (f *Fleet) killOne(ctx context.Context, v Victim) error {
	if v == Either {
		v = []Victim{TheGateway, TheDirectory}[rand.IntN(2)]
	}
	if v == TheGateway {
		g := f.Gateways[rand.IntN(len(f.Gateways))]
		g.Kill()
		return g.Start(ctx)
	}
	member := rand.IntN(f.cfg.Members)
	if err := f.Etcd.Kill(member); err != nil {
		return err
	}
	wait(ctx, rand.N(300*time.Millisecond))
	if err := f.Etcd.Restart(member); err != nil {
		return err
	}
	return f.Etcd.Ready(ctx)
}
