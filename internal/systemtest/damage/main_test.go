package damage_test

import (
	"testing"

	"github.com/driftdb/driftdb-go/internal/systemtest"
)

func TestMain(m *testing.M) { systemtest.Main(m) }
