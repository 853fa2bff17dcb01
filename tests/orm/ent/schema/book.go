package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
)

// Book has one author or several.
type Book struct{ ent.Schema }

// Fields of a book.
func (Book) Fields() []ent.Field {
	return []ent.Field{
		field.String("title"),
		field.Float("price").Default(0),
		field.Bytes("cover").Optional(),
		field.JSON("keywords", []string{}).Optional(),
	}
}

// Edges of a book.
func (Book) Edges() []ent.Edge {
	return []ent.Edge{edge.From("authors", Author.Type).Ref("books")}
}
