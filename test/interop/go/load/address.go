// Package load holds what the ttrpc and the gRPC load generators share: addresses, histograms, the
// closed and the open loop, memory samples. It knows no protocol.
package load

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
)

// Split gives the network and the name of an address in any of the forms that covey and people
// write: /path, unix:/path, unix://@abstract, host:port, tcp://host:port.
func Split(address string) (network, name string) {
	if rest, ok := strings.CutPrefix(address, "unix:"); ok {
		rest = strings.TrimPrefix(rest, "//")
		return "unix", rest
	}
	if rest, ok := strings.CutPrefix(address, "tcp://"); ok {
		return "tcp", rest
	}
	if strings.ContainsAny(address, "/@") {
		return "unix", address
	}
	return "tcp", address
}

// Dial connects.
func Dial(address string) (net.Conn, error) {
	network, name := Split(address)
	return net.Dial(network, name)
}

// Listen listens. A socket file that a killed process left behind is removed first, because nothing
// answers on it.
func Listen(address string) (net.Listener, error) {
	network, name := Split(address)
	listener, err := net.Listen(network, name)
	if err == nil || network != "unix" {
		return listener, err
	}
	if probe, dialErr := net.Dial(network, name); dialErr == nil {
		probe.Close()
		return nil, err
	}
	if removeErr := os.Remove(name); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		return nil, err
	}
	return net.Listen(network, name)
}

// Name gives the address that a client uses to reach the listener, which differs from what was asked
// for when the port was 0.
func Name(listener net.Listener) string {
	return listener.Addr().String()
}
