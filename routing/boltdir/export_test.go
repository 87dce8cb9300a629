package boltdir

// Commits is how many transactions have been committed since the file was opened.
func (d *Directory) Commits() int64 {
	s := d.db.Stats()
	return s.TxStats.GetWrite()
}
