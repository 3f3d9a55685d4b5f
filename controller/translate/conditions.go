package translate

import (
	"errors"
	"fmt"
	"strings"

	istioapi "istio.io/api/security/v1beta1"

	"github.com/ambitmesh/ambit/internal/meshpb/security"
)

// condition translates one element of "when".
func (r *reader) condition(path string, c *istioapi.Condition) *security.Match {
	m := &security.Match{}
	if len(c.GetValues())+len(c.GetNotValues()) == 0 {
		r.fail(path, errors.New("neither values nor notValues"))
		return m
	}
	in, out := path+".values", path+".notValues"
	switch c.GetKey() {
	case "source.ip":
		m.SourceIps, m.NotSourceIps = each(r, in, c.Values, blockOf), each(r, out, c.NotValues, blockOf)
	case "source.namespace":
		m.Namespaces, m.NotNamespaces = each(r, in, c.Values, textOf), each(r, out, c.NotValues, textOf)
	case "source.principal":
		m.Principals, m.NotPrincipals = each(r, in, c.Values, textOf), each(r, out, c.NotValues, textOf)
		r.strangers(in, c.Values)
		r.strangers(out, c.NotValues)
	case "source.trustDomain":
		m.Principals, m.NotPrincipals = each(r, in, c.Values, domainOf), each(r, out, c.NotValues, domainOf)
	case "source.serviceAccount", "source.serviceaccount":
		m.ServiceAccounts = each(r, in, c.Values, r.accountOf)
		m.NotServiceAccounts = each(r, out, c.NotValues, r.accountOf)
	case "destination.ip":
		m.DestinationIps, m.NotDestinationIps = each(r, in, c.Values, blockOf), each(r, out, c.NotValues, blockOf)
	case "destination.port":
		m.DestinationPorts, m.NotDestinationPorts = each(r, in, c.Values, portOf), each(r, out, c.NotValues, portOf)
	default:
		r.otherKey(path+".key", c.GetKey())
	}
	return m
}

func (r *reader) otherKey(path, key string) {
	if key == "remote.ip" || key == "connection.sni" || strings.HasPrefix(key, "request.") ||
		strings.HasPrefix(key, "experimental.envoy.filters.") {
		r.refused = append(r.refused, fmt.Sprintf("%s: %s: %s", path, key, needsL7))
		return
	}
	r.fail(path, fmt.Errorf("unknown key %q", key))
}
