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

// maxManifest bounds what is read of an object that calls itself a manifest, and what
// comes out of it.
const maxManifest = 64 << 20

// manifestContext is what the manifest under key is sealed as. What it is stands in
// place of the database's id, which no reader knows before: so a branch's is never
// taken for the one that counts, nor the other way round.
func (b *Bucket) manifestContext(key string) seal.Context {
	what := "driftdb branch v2"
	if key == manifestKey(b.name) {
		what = "driftdb manifest v2"
	}
	return seal.Context{DatabaseID: what, Name: key}
}

// encode gives the object of m under key: with keys, sealed; without, for people. It
// sets in m what depends on that.
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

// listed is a copy of m with a list of snapshots, empty as it may be.
func (m *Manifest) listed() *Manifest {
	c := *m
	if c.Snapshots == nil {
		c.Snapshots = []Snapshot{}
	}
	return &c
}

// text gives m as version 1 stores it: indented JSON with a checksum.
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

// macContext is what the MAC of a manifest of version 1 says that it is. Programs that
// did not know version 2 have made one wherever there were keys.
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

// decode reads the manifest's object under key to its end.
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

// unseal reads what encode has sealed. The keys say that it is whole, and whose.
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

// parseText reads a manifest of version 1. With keys, one of them must have made its MAC.
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
	if sum != "" && sum != checksum(plain) { // one that people have edited has none
		return nil, fmt.Errorf("%w: its checksum does not match", ErrCorrupt)
	}
	m.MAC, m.Checksum = mac, sum
	return m, nil
}

// parseManifest reads the JSON of either version. A newer one may look like anything else.
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
