package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/load"
	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// The second act: the same fault, through a gateway that lets keys spill.
const (
	spillPolicy = "spill:1"
	spillShare  = 0.3             // of the first act's length,
	spillLeast  = 2 * time.Second // and at least that: before, during and after the outage get a third each
	spillNew    = 8               // keys that are created while their owner is away
	spillPace   = 5 * time.Millisecond
)

// spilled is what the second act has seen.
type spilled struct {
	Served     course
	Signatures load.Signatures
	// Old keys are the victim's, created before the outage; NotFound counts the calls with them that another enclave
	// answered so. Back are those that their owner has again afterwards.
	Old, Back int
	NotFound  uint64
	// New keys are the victim's, created during the outage, by the enclave that made them. Stayed are those that it
	// signs with after the outage, Unknown those that the strict gateway does not find.
	New             map[string]int
	Stayed, Unknown int
	// Later is where a key of the victim's was created after the outage.
	Later string
	// Unexpected counts the calls that failed and should not have, of which Example is one.
	Unexpected uint64
	Example    string
	Slowest    time.Duration // of the calls that succeeded
}

// spillAct plays the second act.
type spillAct struct {
	p      *player
	g      *stack.Gateway
	client signerv1.SignerServiceClient
	out    spilled

	// keys is held for reading by a caller during each call, and for writing when keys change.
	keys sync.RWMutex
	used []spillKey
	away bool // the victim, or its old keys

	mu sync.Mutex // of out
}

type spillKey struct {
	*signerv1.CreateResponse
	old bool
}

// spill kills the victim once more, while a second gateway with another policy sends the calls.
func (p *player) spill(ctx context.Context) (*spilled, error) {
	p.say("second act: another gateway, with -routing %s, and the same fault", spillPolicy)
	g, err := p.st.Another(ctx, "spill-gateway", "-routing", spillPolicy)
	if err != nil {
		return nil, err
	}
	cc, err := g.Dial()
	if err != nil {
		return nil, err
	}
	defer cc.Close()
	a := &spillAct{p: p, g: g, client: signerv1.NewSignerServiceClient(cc)}
	a.out.New = make(map[string]int)
	names, err := a.names(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range enclaveIDs {
		for _, name := range names[id][:keysEach] {
			if err := a.create(ctx, name, id == victim); err != nil {
				return nil, err
			}
		}
	}
	a.out.Old = keysEach
	working, stop := context.WithCancel(ctx)
	var callers sync.WaitGroup
	for i := range p.s.callers {
		callers.Go(func() { a.sign(working, i) })
	}
	err = a.play(ctx, names[victim])
	stop()
	callers.Wait()
	if err == nil {
		err = ctx.Err()
	}
	return &a.out, err
}

// names finds names of keys of every enclave, and for the victim some more.
func (a *spillAct) names(ctx context.Context) (map[string][]string, error) {
	candidates := make([]string, mostTried)
	for i := range candidates {
		candidates[i] = fmt.Sprint("spill-", i)
	}
	routes, err := a.g.Routes(ctx, candidates)
	if err != nil {
		return nil, err
	}
	names := make(map[string][]string)
	for _, r := range routes {
		names[r.OwnerID] = append(names[r.OwnerID], r.KeyID)
	}
	for _, id := range enclaveIDs {
		if want := keysEach + spillNew + 1; len(names[id]) < want {
			return nil, fmt.Errorf("of %d keys too few belong to %s: %d", mostTried, id, len(names[id]))
		}
	}
	return names, nil
}

// play is the course of the act. The victim's names are used in their order: for old keys, for new ones, and for one
// more at the end.
func (a *spillAct) play(ctx context.Context, names []string) error {
	third := max(time.Duration(spillShare*float64(a.p.s.duration)), spillLeast) / 3
	before, err := a.wait(ctx, third, "before", served{})
	if err != nil {
		return err
	}
	a.out.Served.Before = before

	e := a.p.enclave(victim)
	a.keys.Lock()
	a.away = true
	a.keys.Unlock()
	e.Kill()
	a.p.say("%s killed again: its keys go to the next enclave in their order", victim)
	if err := a.awaitPlace(ctx, names[0], false); err != nil {
		return err
	}
	created := names[keysEach : keysEach+spillNew]
	for _, name := range created {
		if err := a.create(ctx, name, false); err != nil {
			return fmt.Errorf("creating a key while %s is away: %w", victim, err)
		}
	}
	places, err := a.g.Routes(ctx, created)
	if err != nil {
		return err
	}
	for _, r := range places {
		a.out.New[r.EnclaveID]++
	}
	a.p.say("%d new keys of %s were created elsewhere, and sign", len(created), victim)
	sofar, err := a.wait(ctx, third, "outage", before)
	if err != nil {
		return err
	}
	a.out.Served.Outage = sofar.minus(before)

	if err := e.Start(ctx); err != nil {
		return err
	}
	a.p.say("%s started again, without keys: the old ones are created anew", victim)
	if err := a.awaitPlace(ctx, names[0], true); err != nil {
		return err
	}
	if sofar, err = a.renew(ctx, names[:keysEach]); err != nil {
		return err
	}
	after, err := a.wait(ctx, third, "after", sofar)
	if err != nil {
		return err
	}
	a.out.Served.After = after.minus(sofar)
	return a.look(ctx, names, places)
}

// awaitPlace waits until the gateway sends a key of the victim's to it, or elsewhere.
func (a *spillAct) awaitPlace(ctx context.Context, name string, home bool) error {
	for {
		r, err := a.g.Routes(ctx, []string{name})
		if err != nil {
			return err
		}
		if r[0].EnclaveID != "" && (r[0].EnclaveID == victim) == home {
			return nil
		}
		if !sleep(ctx, watchEvery) {
			return ctx.Err()
		}
	}
}

// renew creates the old keys anew in their owner, and returns what had been served until then.
func (a *spillAct) renew(ctx context.Context, names []string) (served, error) {
	a.keys.Lock()
	var kept []spillKey
	for _, k := range a.used {
		if !k.old {
			kept = append(kept, k)
		}
	}
	for _, name := range names {
		k, err := a.client.Create(ctx, &signerv1.CreateRequest{KeyId: name})
		if err != nil {
			a.keys.Unlock()
			return served{}, err
		}
		kept = append(kept, spillKey{k, true})
	}
	a.used, a.away = kept, false
	sofar, err := servedSoFar(ctx, a.g) // nobody is calling
	a.keys.Unlock()
	return sofar, err
}

// look finds out where everything is after the outage.
func (a *spillAct) look(ctx context.Context, names []string, places []stack.Route) error {
	later := names[keysEach+spillNew]
	if _, err := a.client.Create(ctx, &signerv1.CreateRequest{KeyId: later}); err != nil {
		return err
	}
	now, err := a.g.Routes(ctx, names[:keysEach+spillNew+1])
	if err != nil {
		return err
	}
	strict := signerv1.NewSignerServiceClient(a.p.conns[victim])
	digest := make([]byte, signer.DigestSize)
	for i, r := range now {
		switch {
		case i < keysEach:
			if r.EnclaveID == victim {
				a.out.Back++
			}
		case i < keysEach+spillNew:
			if r.EnclaveID == places[i-keysEach].EnclaveID {
				a.out.Stayed++
			}
			_, err := strict.Sign(ctx, &signerv1.SignRequest{KeyId: r.KeyID, Digest: digest})
			if status.Code(err) == codes.NotFound {
				a.out.Unknown++
			}
		default:
			a.out.Later = r.EnclaveID
		}
	}
	return nil
}

// create makes a key and has the callers use it.
func (a *spillAct) create(ctx context.Context, name string, old bool) error {
	k, err := a.client.Create(ctx, &signerv1.CreateRequest{KeyId: name})
	if err != nil {
		return err
	}
	a.keys.Lock()
	a.used = append(a.used, spillKey{k, old})
	a.keys.Unlock()
	return nil
}

// wait lets the callers work, shows how they fare, and returns what has been served so far.
func (a *spillAct) wait(ctx context.Context, d time.Duration, phase string, from served) (served, error) {
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if !sleep(ctx, min(left, progressEvery)) {
			return served{}, ctx.Err()
		}
		sofar, err := servedSoFar(ctx, a.g)
		if err != nil || left <= progressEvery {
			return sofar, err
		}
		s := sofar.minus(from)
		a.p.out.status(fmt.Sprintf("%6.1fs  %-7s served by the owner %s, another %s, nobody %s", time.Since(a.p.start).Seconds(),
			phase, s.hitRate(), percent(s.Other, s.total()), percent(s.Nobody, s.total())))
	}
}

// sign is a caller: it uses one key after another.
func (a *spillAct) sign(ctx context.Context, caller int) {
	digest := make([]byte, signer.DigestSize)
	for n := caller; sleep(ctx, spillPace); n++ {
		digest[0], digest[1] = byte(n), byte(n>>8)
		a.keys.RLock()
		k := a.used[n%len(a.used)]
		a.call(k, digest)
		a.keys.RUnlock()
	}
}

// call signs once, whether or not the act ends meanwhile, and notes what came of it.
func (a *spillAct) call(k spillKey, digest []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	began := time.Now()
	res, err := a.client.Sign(ctx, &signerv1.SignRequest{KeyId: k.GetKeyId(), Digest: digest})
	took := time.Since(began)
	var wrong error
	if err == nil {
		wrong = signer.Verify(k.GetAlgorithm(), k.GetPublicKey(), digest, res.GetSignature())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		a.out.Slowest = max(a.out.Slowest, took)
		a.out.Signatures.Made++
		if wrong == nil {
			a.out.Signatures.Verified++
		} else {
			a.out.Signatures.Invalid++
			a.out.Signatures.Example = wrong.Error()
		}
	case k.old && a.away:
		if status.Code(err) == codes.NotFound {
			a.out.NotFound++
		}
	default:
		a.out.Unexpected++
		a.out.Example = fmt.Sprintf("%s: %v", k.GetKeyId(), err)
	}
}
