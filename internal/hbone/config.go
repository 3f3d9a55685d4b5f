package hbone

import "github.com/ambitmesh/ambit/internal/hbone/h2"

// Config holds the settings of one endpoint. The zero value means the defaults.
type Config = h2.Config

const (
	kib = 1 << 10
	mib = 1 << 20
)
