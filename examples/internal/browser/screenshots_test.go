package browser

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// TestScreenshots makes the pictures in docs, of real enclaves under load: one that works, one busy, one with too few
// slots, one killed a moment ago. ENCLAVEPOOL_SCREENSHOTS is the folder to write to.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("ENCLAVEPOOL_SCREENSHOTS")
	if dir == "" {
		t.Skip("ENCLAVEPOOL_SCREENSHOTS names no folder; the pictures take three minutes and are made by hand")
	}
	tb := open(t)
	ids := []string{"signer-a", "signer-b", "signer-c", "signer-d"}
	st, address := launch(t, stack.Config{Enclaves: ids, GatewayArgs: []string{"-transport", "unary"},
		GatewayEnv: []string{"SIGN_CONN_POOL_MAX=16", "SIGN_CONN_POOL_HEALTH_TIMEOUT=2s"}, EnclaveArgs: []string{"-sign", "echo"}})
	for i, faults := range []string{`{"delay":"30ms"}`, `{"delay":"20ms"}`, `{"delay":"25ms","max_concurrent_streams":5}`, `{"delay":"40ms"}`} {
		if err := st.Enclaves[i].SetFaults(t.Context(), faults); err != nil {
			t.Fatal(err)
		}
	}
	var crowd atomic.Int64
	var callers sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer callers.Wait()
	defer stop()
	for i, n := range []int{60, 20, 110, 600} {
		key := keyOn(t, st, ids[i])
		for j := range n {
			callers.Go(func() { call(ctx, st, key, func() bool { return i != 2 || int64(j) < crowd.Load() }) })
		}
	}
	// signer-c has 64 slots: load that comes and goes until it is too much.
	for _, n := range []int64{10, 50, 66, 72, 40, 20, 60, 75, 90, 30, 20, 110} {
		crowd.Store(n)
		time.Sleep(12 * time.Second)
	}
	st.Enclaves[1].Kill()
	time.Sleep(13 * time.Second)

	tb.screen(t, 1280, 900, "light")
	tb.do(t, chromedp.Navigate(address))
	tb.await(t, "the pictures' story", is("signer-a", "healthy")+"&&"+is("signer-b", "degraded")+"&&"+is("signer-c", "exhausted"))
	tb.shoot(t, filepath.Join(dir, "status-page.png"), chromedp.FullScreenshot(100))
	tb.screen(t, 390, 844, "dark", chromedp.EmulateScale(2), chromedp.EmulateMobile, chromedp.EmulateTouch)
	tb.do(t, chromedp.Sleep(2*time.Second))
	tb.shoot(t, filepath.Join(dir, "status-page-phone.png"), chromedp.CaptureScreenshot())
}

// shoot writes a picture, as small as PNG allows.
func (tb *tab) shoot(t *testing.T, path string, shot chromedp.Action[[]byte]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	raw, err := chromedp.Run(ctx, shot)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, picture); err != nil {
		t.Fatal(err)
	}
	if small.Len() > 192<<10 {
		t.Errorf("%s has %d KiB, want 192 at most", path, small.Len()>>10)
	}
	if err := os.WriteFile(path, small.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// keyOn makes a key that belongs to the enclave.
func keyOn(t *testing.T, st *stack.Stack, enclaveID string) string {
	t.Helper()
	for i := range 1000 {
		id := fmt.Sprint("key-", i)
		routes, err := st.Gateway.Routes(t.Context(), []string{id})
		if err != nil {
			t.Fatal(err)
		}
		if routes[0].OwnerID == enclaveID {
			if err := st.Gateway.Post(t.Context(), "/v1/keys", map[string]string{"key_id": id}, new(map[string]any)); err != nil {
				t.Fatal(err)
			}
			return id
		}
	}
	t.Fatalf("no key belongs to %s", enclaveID)
	return ""
}

// call signs with the key for as long as ctx lasts, while there is a reason to. What fails is part of the story.
func call(ctx context.Context, st *stack.Stack, key string, wanted func() bool) {
	cc, err := st.Gateway.Dial()
	if err != nil {
		return
	}
	defer cc.Close()
	client := signerv1.NewSignerServiceClient(cc)
	for ctx.Err() == nil {
		if !wanted() {
			time.Sleep(time.Second)
			continue
		}
		limited, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := client.Sign(limited, &signerv1.SignRequest{KeyId: key, Digest: make([]byte, 32)})
		cancel()
		if err != nil {
			time.Sleep(200 * time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
