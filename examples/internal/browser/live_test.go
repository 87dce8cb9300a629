package browser

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

// conns is how many connections there are to each enclave.
const conns = 4

// build finds or builds the programs, once.
var build = sync.OnceValues(func() (stack.Programs, error) {
	return stack.Find(context.Background(), binaries, func(string) {}, nil, "enclave", "gateway")
})

// launch starts enclaves and a gateway with a status page, whose address it returns.
func launch(t *testing.T, cfg stack.Config) (*stack.Stack, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	programs, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "page-") // t.TempDir's path may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg.Programs, cfg.Dir, cfg.Transport = programs, dir, stack.Unix
	cfg.GatewayArgs = append(cfg.GatewayArgs, "-debug", "127.0.0.1:0")
	st, err := stack.Launch(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := st.Stop(ctx); err != nil {
			t.Errorf("stopping: %v; the gateway said:\n%s", err, st.Gateway.LogTail(30))
		}
	})
	return st, "http://" + st.Gateway.Debug + "/debug/pool"
}

func TestThePageShowsAnEnclaveThatIsKilledAndReturns(t *testing.T) {
	tb := open(t)
	st, address := launch(t, stack.Config{Enclaves: []string{"a", "b", "c"}, Conns: conns})
	tb.screen(t, 1280, 900, "light")
	tb.do(t, chromedp.Navigate(address))
	tb.await(t, "all are healthy", is("a", "healthy")+"&&"+is("b", "healthy")+"&&"+is("c", "healthy"))
	if got := value[string](t, tb, "document.getElementById('verdict').textContent"); got != "All 3 enclaves are healthy." {
		t.Errorf("the verdict is %q", got)
	}
	if n := value[int](t, tb, card("b")+".querySelectorAll('.cell.healthy').length"); n != conns {
		t.Errorf("%d cells are healthy, want %d", n, conns)
	}
	tb.look(t, "all healthy")

	st.Enclaves[1].Kill()
	tb.await(t, "b is seen to be lost", is("b", "degraded"))
	tb.await(t, "what is not well comes first", "document.querySelector('.card').dataset.enclave === 'b'")
	tb.await(t, "its connections are seen to be gone", fmt.Sprint(card("b"), ".querySelectorAll('.cell.gone').length === ", conns))
	for what, want := range map[string]string{
		"document.getElementById('verdict').textContent": "Of 3 enclaves: 1 degraded.",
		"document.title": "1 degraded – Enclave pool",
		card("b") + ".querySelector('.cause').textContent":  "/b.sock",
		card("b") + ".querySelector('.last').textContent":   "lost",
		card("b") + ".querySelector('.events').textContent": "has lost its last connection (healthy → degraded)",
		card("b") + ".getAttribute('aria-label')":           "b: degraded",
	} {
		if got := value[string](t, tb, what); !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %q in it", what, got, want)
		}
	}
	tb.look(t, "one degraded")

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := st.Enclaves[1].Start(ctx); err != nil {
		t.Fatal(err)
	}
	tb.await(t, "b is seen to be back", is("b", "healthy")+fmt.Sprint("&&", card("b"), ".querySelectorAll('.cell.healthy').length === ", conns))
	tb.await(t, "the order is the usual", "document.querySelector('.card').dataset.enclave === 'a'")
	tb.await(t, "the cause has gone", "!"+card("b")+".querySelector('.cause').checkVisibility()")

	// The gateway falls silent: the picture is greyed, and says since when.
	if err := st.Gateway.Freeze(); err != nil {
		t.Fatal(err)
	}
	tb.await(t, "the silence is noticed", "document.body.classList.contains('silent')")
	if got := value[string](t, tb, "document.getElementById('silence').innerText"); !strings.HasPrefix(got, "The gateway has not answered since ") {
		t.Errorf("the page says %q", got)
	}
	if got := value[string](t, tb, "getComputedStyle(document.getElementById('picture')).filter"); got != "grayscale(1)" {
		t.Errorf("the picture is drawn with the filter %q", got)
	}
	if err := st.Gateway.Thaw(); err != nil {
		t.Fatal(err)
	}
	tb.await(t, "the gateway is heard again", "!document.body.classList.contains('silent') && !document.getElementById('silence').checkVisibility()")
	tb.quiet(t, address)
}

func TestTheConnectionsAreReachedByKeyboardAndTouch(t *testing.T) {
	tb := open(t)
	_, address := launch(t, stack.Config{Enclaves: []string{"a"}, Conns: conns})
	tb.screen(t, 360, 740, "dark")
	tb.do(t, chromedp.Navigate(address))
	tb.await(t, "a is healthy", is("a", "healthy"))

	detail := card("a") + ".querySelector('.detail').textContent"
	focus := func() string {
		return value[string](t, tb, "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent")
	}
	tb.do(t, chromedp.KeyEvent(kb.Tab)) // the card's heading, which folds it
	if got := focus(); got != "a" {
		t.Errorf("the first stop of the Tab key is %q, want the heading", got)
	}
	tb.do(t, chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.ArrowRight))
	if got := focus(); !strings.HasPrefix(got, "connection 1: healthy") {
		t.Errorf("the focus is on %q", got)
	}
	if got := value[string](t, tb, detail); !strings.HasPrefix(got, "Connection 1: healthy, ") || !strings.Contains(got, " in flight") {
		t.Errorf("the detail is %q", got)
	}
	if outline := value[string](t, tb, "getComputedStyle(document.activeElement).outlineStyle"); outline == "none" {
		t.Error("what has the focus looks like the others")
	}
	tb.do(t, chromedp.KeyEvent(kb.Tab)) // past the other connections
	if got := focus(); strings.HasPrefix(got, "connection") {
		t.Errorf("every connection is a stop of the Tab key: %q", got)
	}
	tb.do(t, chromedp.Click(chromedp.CSS(".cell:last-child")))
	if got := value[string](t, tb, detail); !strings.HasPrefix(got, "Connection 3: ") {
		t.Errorf("after a tap the detail is %q", got)
	}
	tb.do(t, chromedp.Click(chromedp.CSS(".head button")))
	tb.await(t, "the card is folded", "!"+card("a")+".querySelector('.chart').checkVisibility()")
	tb.quiet(t, address)
}
