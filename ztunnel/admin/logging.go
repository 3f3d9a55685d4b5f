package admin

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
)

// logging shows the level, and sets it by POST ?level=debug|info|warn|error.
func (a *Admin) logging(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		var l slog.Level
		if err := l.UnmarshalText([]byte(r.URL.Query().Get("level"))); err != nil {
			http.Error(w, "want ?level=debug, info, warn or error", http.StatusBadRequest)
			return
		}
		a.cfg.Level.Set(l)
		a.cfg.Log.Info("log level set", "level", l)
	}
	fmt.Fprintf(w, "current log level is %s\n", strings.ToLower(a.cfg.Level.Level().String()))
}
