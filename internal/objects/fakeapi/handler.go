package fakeapi

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
)

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	path, namespace, name := s.split(r.URL.Path)
	s.mu.Lock()
	s.calls = append(s.calls, r.Method+" "+r.URL.RequestURI())
	away, served, code := s.away, s.kinds[path], 0
	if s.fail != nil {
		code = s.fail(r)
	}
	s.mu.Unlock()
	switch {
	case away:
		status(w, http.StatusServiceUnavailable, "ServiceUnavailable")
	case code != 0:
		status(w, code, http.StatusText(code))
	case !served:
		status(w, http.StatusNotFound, "NotFound")
	case r.Method == http.MethodPatch:
		s.patch(w, r, path, namespace, name)
	case r.Method == http.MethodPost:
		s.create(w, r, path, namespace)
	case name != "":
		s.get(w, r, path, namespace, name)
	case r.URL.Query().Get("watch") == "true" || r.URL.Query().Get("watch") == "1":
		s.watch(w, r, path)
	default:
		s.list(w, r, path)
	}
}

// split takes .../namespaces/<namespace>/<resource>/<name>[/status] apart.
func (s *Server) split(url string) (path, namespace, name string) {
	parts := strings.Split(strings.TrimPrefix(url, "/"), "/")
	group := 2 // api/v1
	if parts[0] == "apis" {
		group = 3
	}
	if len(parts) <= group {
		return url, "", ""
	}
	rest := parts[group:]
	if rest[0] == "namespaces" && len(rest) > 2 {
		namespace, rest = rest[1], rest[2:]
	}
	if len(rest) > 1 {
		name = rest[1]
	}
	return "/" + strings.Join(append(append([]string{}, parts[:group]...), rest[0]), "/"), namespace, name
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, path string) {
	items := []Object{}
	s.mu.Lock()
	version := s.version
	s.mu.Unlock()
	for _, o := range s.All(path) {
		if selected(o, r) {
			items = append(items, o)
		}
	}
	write(w, http.StatusOK, s.typed(r, path, "List", Object{
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(version)}, "items": items,
	}))
}

// typed fills apiVersion and kind as the client wants them.
func (s *Server) typed(r *http.Request, path, suffix string, o Object) Object {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	o["apiVersion"], o["kind"] = strings.Join(parts[1:len(parts)-1], "/"), singular(parts[len(parts)-1])+suffix
	if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata") {
		o["apiVersion"], o["kind"] = "meta.k8s.io/v1", "PartialObjectMetadata"+suffix
	}
	return o
}

// singular names the kinds that lists and bookmarks are made of.
func singular(resource string) string {
	for plural, kind := range map[string]string{
		"namespaces": "Namespace", "pods": "Pod", "services": "Service", "nodes": "Node", "events": "Event",
		"endpointslices": "EndpointSlice", "serviceaccounts": "ServiceAccount",
		"daemonsets": "DaemonSet", "authorizationpolicies": "AuthorizationPolicy", "peerauthentications": "PeerAuthentication",
	} {
		if plural == resource {
			return kind
		}
	}
	return "Thing"
}

func selected(o Object, r *http.Request) bool {
	node, ok := strings.CutPrefix(r.URL.Query().Get("fieldSelector"), "spec.nodeName=")
	if !ok {
		return true
	}
	spec, _ := o["spec"].(map[string]any)
	return text(spec, "nodeName") == node
}

func (s *Server) watch(w http.ResponseWriter, r *http.Request, path string) {
	from, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	if err != nil {
		status(w, http.StatusBadRequest, "BadRequest")
		return
	}
	cut := make(chan struct{})
	s.mu.Lock()
	if from < s.oldest {
		s.mu.Unlock()
		status(w, http.StatusGone, "Expired")
		return
	}
	s.conns[cut] = true
	s.mu.Unlock()
	flusher, _ := w.(http.Flusher)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flusher.Flush()
	for {
		s.mu.Lock()
		var next []event
		for _, e := range s.events {
			if e.version > from && e.path == path {
				next = append(next, e)
			}
		}
		changed := s.changed
		s.mu.Unlock()
		for _, e := range next {
			from = e.version
			if selected(e.Object, r) {
				send(w, event{Type: e.Type, Object: s.typed(r, path, "", clone(e.Object))})
			}
		}
		flusher.Flush()
		select {
		case <-changed:
		case <-cut:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, path, namespace, name string) {
	o := s.Get(path, namespace, name)
	if o == nil {
		status(w, http.StatusNotFound, "NotFound")
		return
	}
	write(w, http.StatusOK, s.typed(r, path, "", o))
}

// patch merges metadata, and checks uid and resourceVersion if the patch has them.
func (s *Server) patch(w http.ResponseWriter, r *http.Request, path, namespace, name string) {
	var p Object
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || json.Unmarshal(b, &p) != nil {
		status(w, http.StatusBadRequest, "BadRequest")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[path+"/"+namespace+"/"+name]
	if !ok {
		status(w, http.StatusNotFound, "NotFound")
		return
	}
	o = clone(o)
	for _, key := range []string{"uid", "resourceVersion"} {
		if want := text(meta(p), key); want != "" && want != text(meta(o), key) {
			status(w, http.StatusConflict, "Conflict")
			return
		}
	}
	merge(o, p)
	s.set(path, o)
	write(w, http.StatusOK, o)
}

// merge is a JSON merge patch.
func merge(into, p map[string]any) {
	for k, v := range p {
		sub, isMap := v.(map[string]any)
		have, haveMap := into[k].(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isMap && haveMap:
			merge(have, sub)
		default:
			into[k] = v
		}
	}
}

func (s *Server) create(w http.ResponseWriter, r *http.Request, path, namespace string) {
	var o Object
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || json.Unmarshal(b, &o) != nil {
		status(w, http.StatusBadRequest, "BadRequest")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	meta(o)["namespace"] = namespace
	if _, ok := s.objects[path+"/"+namespace+"/"+text(meta(o), "name")]; ok {
		status(w, http.StatusConflict, "AlreadyExists")
		return
	}
	s.set(path, o)
	write(w, http.StatusCreated, o)
}

func status(w http.ResponseWriter, code int, reason string) {
	write(w, code, Object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code})
}

func write(w http.ResponseWriter, code int, o any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	send(w, o)
}

// send writes JSON; that the client may be gone is not the server's matter.
func send(w io.Writer, o any) {
	b, err := json.Marshal(o)
	if err != nil {
		b = []byte(err.Error())
	}
	_, _ = w.Write(append(b, '\n'))
}
