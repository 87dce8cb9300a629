package attestation

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/veraison/go-cose"
)

func measurement(b byte) []byte { return bytes.Repeat([]byte{b}, 48) }

var (
	image    = measurement(0xA1)
	theNonce = bytes.Repeat([]byte{7}, nonceSize)
	theKey   = bytes.Repeat([]byte{9}, 32)
)

// good is what an honest enclave asks to have attested.
func good() Document {
	return Document{ModuleID: "i-1-enc-1", PCRs: map[int][]byte{0: image, 1: measurement(1), 2: measurement(2)}, UserData: theKey, Nonce: theNonce}
}

func newAuthority(tb testing.TB, from time.Time) *Authority {
	tb.Helper()
	a, err := NewAuthority(from)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// trusting is a policy for the image.
func trusting(a *Authority) Policy {
	roots := x509.NewCertPool()
	roots.AddCert(a.Root())
	return Policy{Roots: roots, PCRs: map[int][]byte{0: image, 2: measurement(2)}}
}

func attest(tb testing.TB, a *Authority, d Document) []byte {
	tb.Helper()
	document, err := a.Attest(d)
	if err != nil {
		tb.Fatal(err)
	}
	return document
}

func TestAnHonestDocumentIsAccepted(t *testing.T) {
	a := newAuthority(t, time.Now())
	document := attest(t, a, good())
	d, err := trusting(a).Check(document, theNonce, theKey)
	if err != nil {
		t.Fatal(err)
	}
	if d.ModuleID != "i-1-enc-1" || time.Since(d.Made()) > time.Minute || len(document) > MaxDocument/2 {
		t.Errorf("%+v, %d bytes", d, len(document))
	}
	p := trusting(a)
	p.ModuleID = "i-1-enc-1"
	if _, err := p.Check(document, theNonce, theKey); err != nil {
		t.Errorf("with its module ID in the policy: %v", err)
	}
}

func TestEveryOtherDocumentIsRefusedForWhatIsWrongWithIt(t *testing.T) {
	a := newAuthority(t, time.Now())
	with := func(change func(*Document)) func(testing.TB) []byte {
		return func(tb testing.TB) []byte {
			d := good()
			change(&d)
			return attest(tb, a, d)
		}
	}
	// signed is a payload that Attest would not make.
	signed := func(change func(*Document), alg cose.Algorithm, key *ecdsa.PrivateKey) func(testing.TB) []byte {
		return func(tb testing.TB) []byte {
			d := good()
			d.Digest, d.Timestamp, d.Certificate, d.CABundle = "SHA384", uint64(time.Now().UnixMilli()), a.leaf, slices.Clone(a.bundle)
			change(&d)
			payload, err := encoding.Marshal(d)
			if err != nil {
				tb.Fatal(err)
			}
			document, err := sign(payload, alg, key)
			if err != nil {
				tb.Fatal(err)
			}
			return document
		}
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw := func(b []byte) func(testing.TB) []byte { return func(testing.TB) []byte { return b } }
	honest := attest(t, a, good())
	tampered := func(at int) []byte {
		b := slices.Clone(honest)
		b[at] ^= 1
		return b
	}
	inPayload := bytes.Index(honest, theKey)
	for name, tt := range map[string]struct {
		document func(testing.TB) []byte
		policy   func(*Policy)
		want     error
	}{
		"another image":              {document: with(func(d *Document) { d.PCRs[0] = measurement(0xB2) }), want: ErrCode},
		"another application":        {document: with(func(d *Document) { d.PCRs[2] = measurement(0xB2) }), want: ErrCode},
		"a PCR that is missing":      {document: with(func(d *Document) { delete(d.PCRs, 2) }), want: ErrCode},
		"debug mode":                 {document: with(func(d *Document) { d.PCRs[0] = measurement(0) }), policy: func(p *Policy) { p.PCRs[0] = measurement(0) }, want: ErrCode},
		"another enclave":            {document: raw(honest), policy: func(p *Policy) { p.ModuleID = "i-1-enc-2" }, want: ErrCode},
		"a policy without PCRs":      {document: raw(honest), policy: func(p *Policy) { p.PCRs = nil }, want: ErrCode},
		"an empty PCR in the policy": {document: with(func(d *Document) { delete(d.PCRs, 2) }), policy: func(p *Policy) { p.PCRs[2] = nil }, want: ErrCode},
		"a stale nonce":              {document: with(func(d *Document) { d.Nonce = bytes.Repeat([]byte{8}, nonceSize) }), want: ErrStale},
		"no nonce":                   {document: with(func(d *Document) { d.Nonce = nil }), want: ErrStale},
		"the beginning of the nonce": {document: with(func(d *Document) { d.Nonce = theNonce[:16] }), want: ErrStale},
		"another key":                {document: with(func(d *Document) { d.UserData = bytes.Repeat([]byte{8}, 32) }), want: ErrKey},
		"no key":                     {document: with(func(d *Document) { d.UserData = nil }), want: ErrKey},
		"an expired chain":           {document: raw(honest), policy: func(p *Policy) { p.Now = func() time.Time { return time.Now().Add(4 * time.Hour) } }, want: ErrChain},
		"a chain that is not yet valid": {document: raw(honest), policy: func(p *Policy) { p.Now = func() time.Time { return time.Now().Add(-time.Hour) } },
			want: ErrChain},
		"another root, though the bundle has its own": {document: raw(attest(t, newAuthority(t, time.Now()), good())), want: ErrChain},
		"no roots":                      {document: raw(honest), policy: func(p *Policy) { p.Roots = nil }, want: ErrChain},
		"a bundle without intermediate": {document: signed(func(d *Document) { d.CABundle = d.CABundle[:1] }, cose.AlgorithmES384, a.key), want: ErrChain},
		"signed by another key":         {document: signed(func(*Document) {}, cose.AlgorithmES384, stranger), want: ErrSignature},
		"another algorithm":             {document: signed(func(*Document) {}, cose.AlgorithmES512, a.key), want: ErrSignature},
		"a changed signature":           {document: raw(tampered(len(honest) - 1)), want: ErrSignature},
		"a changed payload":             {document: raw(tampered(inPayload)), want: ErrSignature},
		"a digest of another kind":      {document: signed(func(d *Document) { d.Digest = "SHA256" }, cose.AlgorithmES384, a.key), want: ErrMalformed},
		"33 PCRs": {document: with(func(d *Document) {
			for i := range maxPCRs + 1 {
				d.PCRs[i] = measurement(1)
			}
		}), want: ErrMalformed},
		"a PCR of 32 bytes":     {document: with(func(d *Document) { d.PCRs[3] = make([]byte, 32) }), want: ErrMalformed},
		"user data too long":    {document: with(func(d *Document) { d.UserData = make([]byte, maxUserData+1) }), want: ErrMalformed},
		"a nonce too long":      {document: with(func(d *Document) { d.Nonce = make([]byte, maxNonce+1) }), want: ErrMalformed},
		"no module":             {document: with(func(d *Document) { d.ModuleID = "" }), want: ErrMalformed},
		"no certificates":       {document: signed(func(d *Document) { d.CABundle = nil }, cose.AlgorithmES384, a.key), want: ErrMalformed},
		"a certificate of junk": {document: signed(func(d *Document) { d.Certificate = []byte("junk") }, cose.AlgorithmES384, a.key), want: ErrMalformed},
		"a bundle of junk":      {document: signed(func(d *Document) { d.CABundle[0] = []byte("junk") }, cose.AlgorithmES384, a.key), want: ErrMalformed},
		"too large":             {document: raw(make([]byte, MaxDocument+1)), want: ErrMalformed},
		"nothing":               {document: raw(nil), want: ErrMalformed},
		"garbage":               {document: raw([]byte("GET / HTTP/1.1\r\n\r\n")), want: ErrMalformed},
		"cut off":               {document: raw(honest[:len(honest)/2]), want: ErrMalformed},
		"something behind it":   {document: raw(append(slices.Clone(honest), 0)), want: ErrMalformed},
		"a payload of garbage": {document: func(tb testing.TB) []byte {
			b, err := sign([]byte("junk"), cose.AlgorithmES384, a.key)
			if err != nil {
				tb.Fatal(err)
			}
			return b
		}, want: ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			p := trusting(a)
			if tt.policy != nil {
				tt.policy(&p)
			}
			_, err := p.Check(tt.document(t), theNonce, theKey)
			if !errors.Is(err, tt.want) {
				t.Errorf("Check: %v; want %v", err, tt.want)
			}
			for _, other := range []error{ErrMalformed, ErrChain, ErrSignature, ErrStale, ErrKey, ErrCode} {
				if other != tt.want && errors.Is(err, other) {
					t.Errorf("Check: %v; it is %v as well", err, other)
				}
			}
			if err != nil && len(err.Error()) > 400 {
				t.Errorf("the text has %d bytes", len(err.Error()))
			}
		})
	}
	expired := trusting(a)
	expired.Now = func() time.Time { return time.Now().Add(4 * time.Hour) }
	var invalid x509.CertificateInvalidError
	if _, err := expired.Check(honest, theNonce, theKey); !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		t.Errorf("an expired chain is refused for %v", err)
	}
	if _, err := trusting(a).Check(honest, nil, theKey); !errors.Is(err, ErrStale) {
		t.Errorf("a caller without a nonce: %v", err)
	}
	if _, err := trusting(a).Check(honest, theNonce, nil); !errors.Is(err, ErrKey) {
		t.Errorf("a caller without a key: %v", err)
	}
}

func TestADocumentOnTheWireIsBounded(t *testing.T) {
	for name, tt := range map[string]struct {
		wire string
		want error
	}{
		"announced too large":    {"\xff\xff" + strings.Repeat("x", 70_000), ErrMalformed},
		"announced as nothing":   {"\x00\x00", ErrMalformed},
		"cut off in the length":  {"\x01", io.ErrUnexpectedEOF},
		"cut off in the middle":  {"\x00\x09half", io.ErrUnexpectedEOF},
		"nothing at all":         {"", io.EOF},
		"an answer of something": {"HTTP/1.1 400", ErrMalformed},
	} {
		r := strings.NewReader(tt.wire)
		if _, err := ReadDocument(r); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v; want %v", name, err, tt.want)
		}
	}
	var wire bytes.Buffer
	if err := writeDocument(&wire, make([]byte, MaxDocument+1)); err == nil {
		t.Error("a document that is too large was written")
	}
	if err := writeDocument(&wire, make([]byte, MaxDocument)); err != nil {
		t.Fatal(err)
	}
	wire.WriteString("PRI * HTTP/2.0")
	if d, err := ReadDocument(&wire); err != nil || len(d) != MaxDocument || wire.String() != "PRI * HTTP/2.0" {
		t.Errorf("%d bytes, %v; left: %q", len(d), err, wire.String())
	}
}

func FuzzCheck(f *testing.F) {
	a := newAuthority(f, time.Now())
	honest := attest(f, a, good())
	f.Add(honest)
	f.Add(honest[:len(honest)/2])
	f.Add([]byte{0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xa0, 0x40, 0x40})
	p := trusting(a)
	f.Fuzz(func(t *testing.T, document []byte) {
		if _, err := p.Check(document, theNonce, theKey); err == nil && !bytes.Equal(document, honest) {
			// The unprotected header is not signed, so other bytes may be as good.
			var m cose.UntaggedSign1Message
			if m.UnmarshalCBOR(document) != nil || !bytes.Contains(honest, m.Payload) {
				t.Fatal("a document that nobody signed was accepted")
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	a := newAuthority(b, time.Now())
	honest, p := attest(b, a, good()), trusting(a)
	for b.Loop() {
		if _, err := p.Check(honest, theNonce, theKey); err != nil {
			b.Fatal(err)
		}
	}
}
