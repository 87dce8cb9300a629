package enclave

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/net/http2"
)

// frame returns the bytes of the frame that write writes.
func frame(write func(*http2.Framer) error) []byte {
	var b bytes.Buffer
	if err := write(http2.NewFramer(&b, nil)); err != nil {
		panic(err) // a bytes.Buffer takes everything: the frame itself would be malformed
	}
	return b.Bytes()
}

func rstFrame(stream uint32, code http2.ErrCode) []byte {
	return frame(func(f *http2.Framer) error { return f.WriteRSTStream(stream, code) })
}

func streamLimitFrame(n uint32) []byte {
	return frame(func(f *http2.Framer) error {
		return f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: n})
	})
}

// withStreamLimit returns first, the bytes a server begins a connection with, with its
// MAX_CONCURRENT_STREAMS set to n. The server writes its first SETTINGS in one piece and always
// with that setting; if ever it did not, first comes back as it was, and false with it.
func withStreamLimit(first []byte, n uint32) ([]byte, bool) {
	const settingSize = 6
	if len(first) < frameHeaderSize || http2.FrameType(first[3]) != http2.FrameSettings {
		return first, false
	}
	end := frameHeaderSize + int(first[0])<<16 + int(first[1])<<8 + int(first[2])
	for at := frameHeaderSize; at+settingSize <= end && end <= len(first); at += settingSize {
		if http2.SettingID(binary.BigEndian.Uint16(first[at:])) == http2.SettingMaxConcurrentStreams {
			out := bytes.Clone(first)
			binary.BigEndian.PutUint32(out[at+2:], n)
			return out, true
		}
	}
	return first, false
}
