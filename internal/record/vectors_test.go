package record

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"strings"
	"testing"
)

// The application secrets, keys and first records of RFC 8448 section 3.
const (
	rfcClient = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
	rfcServer = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"
	rfcIV     = "5b78923dee08579033e523d9"
	rfcText   = `17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f
		2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6
		3a ee bb 21 69 49 15 e4`
	rfcClose = "17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3"
)

func TestRFC8448(t *testing.T) {
	s := &Secrets{}
	random := strings.Repeat("00", 32)
	for label, v := range map[string]string{labelClient: rfcClient, labelServer: rfcServer, "EXPORTER_SECRET": rfcClient} {
		if _, err := s.Write([]byte(label + " " + random + " " + v + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	_, w := mustNew(t, s, tls.TLS_AES_128_GCM_SHA256, true)
	if got := hex.EncodeToString(w.iv[:]); got != rfcIV {
		t.Errorf("iv %s, want %s", got, rfcIV)
	}
	text := make([]byte, 50)
	for i := range text {
		text[i] = byte(i)
	}
	write(w, text)
	if got, want := drain(w), unhex(t, rfcText); !bytes.Equal(got, want) {
		t.Errorf("text\n%x, want\n%x", got, want)
	}
	w.CloseNotify()
	if got, want := drain(w), unhex(t, rfcClose); !bytes.Equal(got, want) {
		t.Errorf("close_notify\n%x, want\n%x", got, want)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
