package admin

import (
	"net/http"
	"strconv"
)

// maxWord bounds the names in a query, in bytes.
const maxWord = 512

func (a *Admin) explain(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	source, destination := q.Get("source"), q.Get("destination")
	port, err := strconv.ParseUint(q.Get("port"), 10, 16)
	if source == "" || destination == "" || err != nil || port == 0 || len(source)+len(destination) > maxWord {
		http.Error(w, "want ?source=<namespace/pod or address>&destination=<namespace/pod, address, host or namespace/service>&port=<1-65535>", http.StatusBadRequest)
		return
	}
	x, err := a.cfg.Explain(source, destination, uint16(port))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	a.write(w, x)
}
