package browser

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"
)

// binaries is a folder for the programs, should they have to be built.
var binaries string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	var err error
	if binaries, err = os.MkdirTemp("", "page-bin-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binaries)
	code := m.Run()
	if err := clean(); err != nil {
		fmt.Fprintln(os.Stderr, "closing the browser:", err)
		return 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// patience is for everything that has to happen, on the slowest of machines.
const patience = 30 * time.Second

// names are those that Chromium goes by.
var names = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// find returns the path of Chromium.
func find(t *testing.T) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "there is no Chromium here: on Debian, apt-get install chromium"
	if os.Getenv("CI") != "" || os.Getenv("ENCLAVEPOOL_TOOLS") == "required" {
		t.Fatal(missing)
	}
	t.Skip(missing) // nothing to look at the page with
	return ""
}

// chrome is the browser that all tests share, from the first that needs it; clean closes it.
var (
	chrome context.Context
	clean  = func() error { return nil }
)

// start starts the browser, once.
func start(t *testing.T) context.Context {
	t.Helper()
	path := find(t)
	if chrome != nil {
		return chrome
	}
	// With a new, empty folder for its user's data.
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path),
		chromedp.NoSandbox, // which root needs; the pages are our own
		chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	clean = func() error {
		defer cancelAllocator()
		defer cancel()
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return chromedp.Cancel(limited)
	}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("Chromium does not start: %v", err)
	}
	chrome = ctx
	return chrome
}

// tab is a page, and what it said and asked for.
type tab struct {
	ctx context.Context

	mu       sync.Mutex
	messages []string // on the console
	requests []string // URLs
}

// open opens a tab that lasts as long as the test.
func open(t *testing.T) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(start(t))
	t.Cleanup(cancel)
	tb := &tab{ctx: ctx}
	var following sync.WaitGroup
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("closing the tab: %v", err)
		}
		following.Wait()
	})
	console := chromedp.Console(ctx)
	following.Go(func() {
		for m, err := range console {
			if err != nil {
				return // the tab is closed
			}
			tb.mu.Lock()
			tb.messages = append(tb.messages, m.String())
			tb.mu.Unlock()
		}
	})
	tb.do(t, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
		return err
	}))
	requests := chromedp.Events(ctx, network.RequestWillBeSent)
	following.Go(func() {
		for ev, err := range requests {
			if err != nil {
				return
			}
			tb.mu.Lock()
			tb.requests = append(tb.requests, ev.Request.URL)
			tb.mu.Unlock()
		}
	})
	return tb
}

func (tb *tab) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// value evaluates JavaScript.
func value[T any](t *testing.T, tb *tab, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// await evaluates a condition until it holds.
func (tb *tab) await(t *testing.T, what, condition string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !value[bool](t, tb, condition); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time; the page says:\n%s", what, value[string](t, tb, "document.body.innerText"))
		}
	}
}

// screen sets how wide the window is, and which colours the reader prefers.
func (tb *tab) screen(t *testing.T, width, height int64, scheme string, options ...chromedp.EmulateViewportOption) {
	t.Helper()
	tb.do(t, chromedp.EmulateViewport(width, height, options...), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
			},
		})
		return err
	}))
}

// quiet fails the test when something was said on the console, or asked of anybody but the page's own address.
func (tb *tab) quiet(t *testing.T, address string) {
	t.Helper()
	own, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, m := range tb.messages {
		t.Errorf("the console says: %s", m)
	}
	if len(tb.requests) == 0 {
		t.Error("no request was seen, so this looked at nothing")
	}
	for _, r := range tb.requests {
		if u, err := url.Parse(r); err != nil || u.Scheme != own.Scheme || u.Host != own.Host || u.Path != own.Path {
			t.Errorf("the page asked for %s (%v)", r, err)
		}
	}
}

// card is a JavaScript expression for an enclave's card.
func card(id string) string { return fmt.Sprintf("document.querySelector('[data-enclave=%q]')", id) }

// is is a condition: the enclave's card says so.
func is(id, state string) string {
	return fmt.Sprintf("%[1]s?.dataset.state === %[2]q && %[1]s.querySelector('.state').textContent.toLowerCase() === %[2]q", card(id), state)
}
