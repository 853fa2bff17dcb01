package remote

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/driftdb/driftdb-go/internal/seal"
)

// maxManifest bounds the size of a manifest object, and of its decompressed contents.
const maxManifest = 64 << 20

// manifestContext is the sealing context of the manifest under key. A reader does not
// know the database's id yet, so the kind of manifest takes its place. A branch's
// manifest therefore never passes for the main one, nor the reverse.
func (b *Bucket) manifestContext(key string) seal.Context {
	what := "driftdb branch v2"
	if key == manifestKey(b.name) {
		what = "driftdb manifest v2"
	}
	return seal.Context{DatabaseID: what, Name: key}
}

// encode returns the object for m under key: sealed if there are keys, else readable
// text. It sets the fields of m that depend on that.
func (b *Bucket) encode(m *Manifest, key string) ([]byte, error) {
	m.MAC, m.Checksum = "", ""
	if b.opts.Ring == nil {
		m.FormatVersion = textVersion
		return m.text()
	}
	m.FormatVersion = sealedVersion
	plain, err := json.Marshal(m.listed())
	if err != nil {
		return nil, err
	}
	var sealed bytes.Buffer
	w, err := seal.NewWriter(&sealed, b.opts, b.manifestContext(key))
	if err == nil {
		_, err = w.Write(plain)
	}
	if err != nil {
		return nil, err
	}
	err = w.Close()
	return sealed.Bytes(), err
}

// listed returns a copy of m whose snapshot list is not nil, so that JSON shows an empty
// list.
func (m *Manifest) listed() *Manifest {
	c := *m
	if c.Snapshots == nil {
		c.Snapshots = []Snapshot{}
	}
	return &c
}

// text returns m as version 1 stores it: indented JSON with a checksum.
func (m *Manifest) text() ([]byte, error) {
	c := m.listed()
	plain, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, err
	}
	c.Checksum = checksum(plain)
	out, err := json.MarshalIndent(c, "", "  ")
	return append(out, '\n'), err
}

// macContext is the context of a version 1 manifest's MAC. Programs older than version 2
// wrote such a MAC whenever there were keys.
func (m *Manifest) macContext() string {
	if m.Branch != "" {
		return "driftdb branch v1"
	}
	return "driftdb manifest v1"
}

func checksum(plain []byte) string {
	sum := sha256.Sum256(plain)
	return hex.EncodeToString(sum[:])
}

// decode reads the manifest object under key to its end.
func (b *Bucket) decode(key string, object io.Reader) (*Manifest, error) {
	src := bufio.NewReader(object)
	sealed, err := seal.Encrypted(src)
	if err != nil {
		return nil, err
	}
	var m *Manifest
	if sealed {
		m, err = b.unseal(key, src)
	} else {
		m, err = b.parseText(src)
	}
	if err == nil {
		if err = m.check(b.name); err != nil {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	} else if errors.Is(err, seal.ErrCorrupt) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", b.name, err)
	}
	return m, nil
}

// unseal reads what encode has sealed. The seal proves that it is whole and who wrote it.
func (b *Bucket) unseal(key string, object io.Reader) (*Manifest, error) {
	plain, err := seal.NewReader(object, b.opts.Ring, b.manifestContext(key))
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(plain, maxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxManifest {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrCorrupt, maxManifest)
	}
	m, err := parseManifest(content)
	if err == nil && (m.FormatVersion != sealedVersion || m.MAC != "" || m.Checksum != "") {
		err = fmt.Errorf("%w: the encrypted manifest is not version %d", ErrCorrupt, sealedVersion)
	}
	return m, err
}

// parseText reads a version 1 manifest. If there are keys, one of them must have made its
// MAC.
func (b *Bucket) parseText(object io.Reader) (*Manifest, error) {
	content, err := io.ReadAll(object)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(content)
	if err != nil {
		return nil, err
	}
	if m.FormatVersion != textVersion {
		return nil, fmt.Errorf("%w: it is version %d but not encrypted", ErrCorrupt, m.FormatVersion)
	}
	mac, sum := m.MAC, m.Checksum
	m.MAC, m.Checksum = "", ""
	plain, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := b.opts.Ring.VerifyMAC(m.macContext(), plain, mac); err != nil {
		return nil, err
	}
	if sum != "" && sum != checksum(plain) { // a manifest edited by hand has none
		return nil, fmt.Errorf("%w: its checksum does not match", ErrCorrupt)
	}
	m.MAC, m.Checksum = mac, sum
	return m, nil
}

// parseManifest reads the JSON of either version. It checks the version first, because a
// newer format may differ in anything else.
func parseManifest(content []byte) (*Manifest, error) {
	var version struct {
		FormatVersion int `json:"formatVersion"`
	}
	if err := json.Unmarshal(content, &version); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if version.FormatVersion > sealedVersion {
		return nil, fmt.Errorf("%w (version %d, this program supports %d)", ErrVersion, version.FormatVersion, sealedVersion)
	}
	if version.FormatVersion == 0 {
		return nil, fmt.Errorf("%w: it has no formatVersion; if the JavaScript package made this backup, use another name or prefix (driftdb migrate-js reads it)", ErrCorrupt)
	}
	m := new(Manifest)
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	err := d.Decode(m)
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			err = errors.New("there is data after its end")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return m, nil
}
