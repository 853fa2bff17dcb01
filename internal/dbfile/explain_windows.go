package dbfile

// Explain adds nothing here.
func (f *File) Explain(err error) error { return err }

func explainMany(err error) error { return err }
