package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// xds asks the controller for the proxies' configuration, as a proxy's first message does. It prints the length
// of the answer's first message.
func xds(tokenFile, address, rootFile string) error {
	const service = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
	m := field(nil, 2, []byte("type.googleapis.com/istio.workload.Address")) // DeltaDiscoveryRequest.type_url
	m = field(m, 3, []byte("*"))                                             // resource_names_subscribe
	open, _ := io.Pipe()                                                     // the stream would end with the request
	answer, err := call(tokenFile, address, rootFile, service, io.MultiReader(bytes.NewReader(frame(m)), open))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	head := make([]byte, 5)
	if _, err := io.ReadFull(answer.Body, head); err != nil {
		if _, err := io.Copy(io.Discard, answer.Body); err != nil { // the trailer is read
			return err
		}
		if err := refused(answer); err != nil {
			return err
		}
		return fmt.Errorf("no message came: %w", err)
	}
	fmt.Println(binary.BigEndian.Uint32(head[1:]))
	return nil
}
