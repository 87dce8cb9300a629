package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/routing/boltdir"
)

// enclaveWith serves a fake enclave that has the keys, until the test ends, and returns it with its target.
func enclaveWith(t *testing.T, keys ...string) (*enclave.Server, string) {
	t.Helper()
	target := "unix:" + filepath.Join(t.TempDir(), "e")
	e, err := enclave.New(enclave.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lis, err := enclave.Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.Serve(lis) }()
	t.Cleanup(func() {
		e.Close()
		<-served
	})
	cc, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, key := range keys {
		if _, err := signerv1.NewSignerServiceClient(cc).Create(ctx, &signerv1.CreateRequest{KeyId: key}); err != nil {
			t.Fatal(err)
		}
	}
	return e, target
}

func TestReconcileReportsAndRepairs(t *testing.T) {
	_, a := enclaveWith(t, "good", "new", "new\n2")
	_, b := enclaveWith(t, "wrong")
	file := filepath.Join(t.TempDir(), "places.db")
	d, err := boltdir.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	for key, id := range map[string]string{"good": "a", "wrong": "a", "unmade": "b"} {
		if _, _, err := d.Place(context.Background(), key, id); err != nil {
			t.Fatal(err)
		}
	}
	call := func(code int, want []string, args ...string) {
		t.Helper()
		var out, log bytes.Buffer
		args = append([]string{"reconcile", "-enclaves", fmt.Sprintf("a=%s,b=%s", a, b), "-directory", "bolt:" + file}, args...)
		if got := run(context.Background(), args, nil, &out, &log); got != code {
			t.Errorf("%q: exit code %d, want %d", args, got, code)
		}
		for _, w := range want {
			if !strings.Contains(out.String()+log.String(), w) {
				t.Errorf("%q: %s is not in\n%s%s", args, w, out.String(), log.String())
			}
		}
	}
	call(1, []string{"in use"}) // a gateway is running
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	call(3, []string{`"new": not recorded; found in ["a"]`, `"new\n2": not recorded`, `"wrong": recorded elsewhere; recorded in "a"; found in ["b"]`,
		`"unmade": recorded and not made; recorded in "b"`, "3 keys recorded, 4 found in 2 enclaves: 1 agree, 4 differ, of which 0 are repaired"})
	call(3, []string{`"wrong": recorded elsewhere; recorded in "a"; found in ["b"]; repaired`, "of which 3 are repaired"}, "-repair")
	call(0, []string{"5 keys recorded, 4 found in 2 enclaves: 4 agree, 1 differ, of which 1 are repaired"}, "-repair", "-forget")
	call(0, []string{"4 keys recorded, 4 found in 2 enclaves: 4 agree, 0 differ"})
}

func TestReconcileSaysWhichEnclaveCouldNotBeAsked(t *testing.T) {
	_, a := enclaveWith(t, "k")
	var out, log bytes.Buffer
	args := []string{"reconcile", "-enclaves", "a=" + a + ",b=unix:/nowhere/b", "-directory", "bolt:" + filepath.Join(t.TempDir(), "p.db"), "-timeout", "3s"}
	if code := run(context.Background(), args, nil, &out, &log); code != 1 || !strings.Contains(log.String(), "enclave b could not be asked") ||
		!strings.Contains(out.String(), `"k": not recorded`) {
		t.Errorf("exit code %d: %s%s", code, out.String(), log.String())
	}
}

func TestReconcileRefusesBadSettings(t *testing.T) {
	for want, args := range map[string][]string{
		"memory is gone with its gateway": {"-directory", "memory"},
		`-timeout: "0s" is not valid`:     {"-timeout", "0s"},
		`arguments: "x" is not valid`:     {"x"},
		`-enclaves entry 1 is "a"`:        {"-enclaves", "a"},
	} {
		var out, log bytes.Buffer
		if code := run(context.Background(), append([]string{"reconcile"}, args...), env(envEnclaves, "a=unix:/a"), &out, &log); code != 2 || !strings.Contains(log.String(), want) {
			t.Errorf("%q: exit code %d: %s; want %s", args, code, log.String(), want)
		}
	}
	var out, log bytes.Buffer
	if code := run(context.Background(), []string{"reconcile", "-help"}, nil, &out, &log); code != 0 || !strings.Contains(out.String(), "-repair") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}
