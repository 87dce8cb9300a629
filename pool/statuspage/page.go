package statuspage

import (
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"iter"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
)

// Source is what a Page shows; a *pool.Pool is one.
type Source interface {
	Stats() pool.Stats
	Events(context.Context) iter.Seq[breaker.Event]
}

// Option changes a Page.
type Option func(*Page)

// WithTitle sets what stands above the picture and in the browser's tab, to
// tell gateways apart. Default: "Enclave pool".
func WithTitle(title string) Option { return func(p *Page) { p.title = printable(title) } }

// Page is an http.Handler for one path of your choice, such as /debug/pool; it
// has all it serves at that path and uses no other. It is safe for concurrent
// use.
//
// Only GET and HEAD are answered. "?data" is the picture as JSON.
type Page struct {
	title  string
	source Source
	memory memory
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex // held to make a picture
	latest picture
}

// picture is a snapshot as it goes over the wire, for all who ask within fresh.
type picture struct {
	at          time.Time
	json, small []byte // small: with gzip
}

// fresh is how long a picture is good for, however many look at it.
const fresh = 500 * time.Millisecond

// New starts to follow the pool, at the cost of one Stats every two seconds, so
// that the last five minutes are there when somebody comes to look. It does so
// until Close, or until the pool is closed.
func New(source Source, opts ...Option) *Page {
	ctx, stop := context.WithCancel(context.Background())
	p := &Page{title: "Enclave pool", source: source, stop: stop}
	for _, opt := range opts {
		opt(p)
	}
	p.memory.sample(source.Stats(), time.Now())
	p.done.Go(func() {
		defer stop() // the pool has ended
		for ev := range source.Events(ctx) {
			p.memory.note(ev)
		}
	})
	p.done.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				p.memory.sample(source.Stats(), now)
			case <-ctx.Done():
				return
			}
		}
	})
	return p
}

// Close ends the following and waits for that. The page is still served, with
// what the pool is now and without what would have been remembered since. It
// may be called more than once.
func (p *Page) Close() {
	p.stop()
	p.done.Wait()
}

//go:embed assets
var assets embed.FS

// files are the assets by name.
var files = func() map[string][]byte {
	byName := map[string][]byte{}
	// It cannot fail: what is embedded is in memory.
	_ = fs.WalkDir(assets, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			byName[path.Base(name)], err = assets.ReadFile(name)
		}
		return err
	})
	return byName
}()

var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// policy lets the page load its own parts and nothing else: no inline script or
// style, no other origin, in nobody's frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are answered here", http.StatusMethodNotAllowed)
		return
	}
	query := r.URL.Query()
	if query.Has("data") {
		p.serveData(w, r)
		return
	}
	name := "page.html"
	if query.Has("asset") {
		name = query.Get("asset")
	}
	content, ok := files[name]
	if !ok {
		http.Error(w, "no such part of the page", http.StatusNotFound)
		return
	}
	h.Set("Content-Type", types[path.Ext(name)])
	write(w, r, content)
}

func (p *Page) serveData(w http.ResponseWriter, r *http.Request) {
	picture, err := p.picture()
	if err != nil {
		http.Error(w, "the picture cannot be put into JSON", http.StatusInternalServerError)
		return
	}
	h, content := w.Header(), picture.json
	h.Set("Content-Type", "application/json")
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		content = picture.small
	}
	write(w, r, content)
}

func write(w http.ResponseWriter, r *http.Request, content []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(content) // its error is the reader's who has gone
	}
}

// picture returns one that is not older than fresh.
func (p *Page) picture() (picture, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.latest.json != nil && now.Sub(p.latest.at) < fresh {
		return p.latest, nil
	}
	text, err := json.Marshal(p.memory.snapshot(p.title, p.source.Stats(), now))
	if err != nil {
		return picture{}, err
	}
	var small bytes.Buffer
	z, err := gzip.NewWriterLevel(&small, gzip.BestSpeed)
	if err != nil {
		return picture{}, err
	}
	// Writing to memory does not fail.
	_, _ = z.Write(text)
	_ = z.Close()
	p.latest = picture{now, text, small.Bytes()}
	return p.latest, nil
}
