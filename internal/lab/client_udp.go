package lab

import (
	"context"

	"github.com/ambitmesh/ambit/internal/lab/app"
)

// ListenUDP echoes datagrams on a port.
func (a *App) ListenUDP(ctx context.Context, port int) (app.Listening, error) {
	return call[app.Listening](ctx, a, "ListenUDP", &app.PortRef{Port: port})
}

// PingUDP sends a datagram and waits for its echo.
func (a *App) PingUDP(ctx context.Context, address string) error {
	_, err := call[struct{}](ctx, a, "PingUDP", &app.DialArgs{Address: address})
	return err
}
