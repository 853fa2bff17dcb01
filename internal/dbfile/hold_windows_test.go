package dbfile

const holds = true // Hold locks the file itself
