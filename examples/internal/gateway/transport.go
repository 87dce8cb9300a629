package gateway

import "errors"

// Transport is how requests travel to the enclaves.
type Transport string

const (
	// Stream sends each as a message on a stream that is open already.
	Stream Transport = "stream"
	// Unary makes a call for each.
	Unary Transport = "unary"
)

// ParseTransport understands the names; "" is Stream.
func ParseTransport(name string) (Transport, error) {
	switch t := Transport(name); t {
	case "":
		return Stream, nil
	case Stream, Unary:
		return t, nil
	}
	return "", errors.New("want stream or unary")
}
