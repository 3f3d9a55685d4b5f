package netsock

import "errors"

// ErrAstray says that a thread could not return to the process's own network namespace. It stays locked
// to its goroutine.
var ErrAstray = errors.New("return to own network namespace")
