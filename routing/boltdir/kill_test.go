package boltdir_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/boltdir"
)

// writerEnv is set in the process that is killed: the file to write to.
const writerEnv = "BOLTDIR_TEST_WRITER"

// placeUntilKilled places keys and moves half of them, and writes a line for each
// change that was acknowledged.
func placeUntilKilled(path string) {
	d, err := boltdir.Open(path, boltdir.WithLockTimeout(10*time.Second))
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	say := func(p routing.Placement, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Printf("%s %s %d\n", p.Key, p.EnclaveID, p.Version)
	}
	for i := range 16 {
		go func() {
			for n := 0; ; n++ {
				p, _, err := d.Place(context.Background(), fmt.Sprintf("%d/%d/%d", os.Getpid(), i, n), fmt.Sprint("enclave-", i))
				say(p, err)
				if n%2 == 0 {
					say(d.Move(context.Background(), p, "moved"))
				}
			}
		}()
	}
	select {}
}

func TestWhatWasAcknowledgedOutlivesKill(t *testing.T) {
	path := newFile(t)
	acknowledged := map[string]routing.Placement{}
	const rounds = 15
	for round := range rounds {
		n := killAWriter(t, path, acknowledged)
		d, err := boltdir.Open(path)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for key, want := range acknowledged {
			got, err := d.Lookup(ctx, key)
			// A move that was made but not acknowledged is as good.
			if err != nil || got.Version < want.Version || got.Version == want.Version && got.EnclaveID != want.EnclaveID {
				t.Fatalf("round %d: %+v, %v; acknowledged was %+v", round, got, err, want)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: killed after %d changes; all %d keys are there", round, n, len(acknowledged))
	}
	if len(acknowledged) < rounds {
		t.Errorf("%d keys in all: too few to tell", len(acknowledged))
	}
}

// killAWriter lets a process write for a random time, kills it, and notes what it
// acknowledged.
func killAWriter(t *testing.T, path string, acknowledged map[string]routing.Placement) (changes int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), writerEnv+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var timer *time.Timer
	for lines.Scan() {
		if timer == nil { // it writes
			timer = time.AfterFunc(rand.N(150*time.Millisecond), func() { _ = child.Process.Kill() }) // it may have ended
		}
		var p routing.Placement
		if _, err := fmt.Sscanf(lines.Text(), "%s %s %d", &p.Key, &p.EnclaveID, &p.Version); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		acknowledged[p.Key] = p
		changes++
	}
	if timer == nil {
		t.Fatal("it wrote nothing")
	}
	_ = child.Wait() // "signal: killed"
	return changes
}
