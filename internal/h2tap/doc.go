// Package h2tap listens to the HTTP/2 frames a peer sends, as their bytes pass through a net.Conn, so that the pool
// learns what gRPC keeps to itself: the advertised stream limit, every RST_STREAM, GOAWAY, and when the peer was last
// heard. It changes nothing, looks at no written byte, and does not enforce the protocol: a frame that breaks it is
// passed over by its length, and gRPC decides what becomes of the connection. One thing it may delay, and buffers for
// that: a GOAWAY that only warns, until the pool has a connection to put in place of this one. [Guard] alone ends a
// connection, when the peer floods it in a way that gRPC would bear. Start reading at [Conn] in conn.go, then scan.go for
// the frames, ready.go for the reads that hold no buffer while they wait, hold.go, and guard.go.
package h2tap
