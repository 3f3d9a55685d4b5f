package legs

import "math/rand/v2"

// Ports of legs with the client's address lie outside the ephemeral range of clients (32768-60999), so
// that they hardly ever meet the client's own connections to the same application, and above those that
// applications like to listen on. Where they run out, for one client and one application that open and
// close fast, any port will do.
const (
	lowPorts, lowFrom   = 32768 - 16384, 16384
	highPorts, highFrom = 65536 - 61000, 61000
	allPorts, allFrom   = 65536 - 1024, 1024

	// Tries is how many ports are tried before an application is out of them for one client.
	Tries       = 64
	choosyTries = 32 // the first of them
)

// Port chooses one for the try, which counts from 0.
func Port(try int) uint16 {
	if try >= choosyTries {
		return uint16(allFrom + rand.IntN(allPorts))
	}
	n := rand.IntN(lowPorts + highPorts)
	if n < lowPorts {
		return uint16(lowFrom + n)
	}
	return uint16(highFrom + n - lowPorts)
}
