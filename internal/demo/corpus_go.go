package demo

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strings"
)

// declarations are the top-level declarations of a Go file that have a
// comment, each a document of its own. A file that does not parse has those
// before the mistake.
func declarations(name string, text []byte) []document {
	files := token.NewFileSet()
	file, _ := parser.ParseFile(files, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if file == nil {
		return nil
	}
	d := declared{file: name, text: string(text), base: files.File(file.FileStart).Base()}
	for _, declaration := range file.Decls {
		switch declaration := declaration.(type) {
		case *ast.FuncDecl:
			d.function(declaration)
		case *ast.GenDecl:
			d.group(declaration)
		}
	}
	return d.documents
}

type declared struct {
	file, text string
	base       int // of the positions in the file
	documents  []document
}

func (d *declared) function(f *ast.FuncDecl) {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		d.add("func", f.Name.Name, f, f.Doc)
		return
	}
	d.add("method", receiver(f.Recv.List[0].Type)+"."+f.Name.Name, f, f.Doc)
}

// receiver is the name of a method's type.
func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return "?"
}

// group adds what a type, const or var declaration declares.
func (d *declared) group(g *ast.GenDecl) {
	for _, spec := range g.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			d.add("type", spec.Name.Name, spec, first(spec.Doc, spec.Comment, alone(g)))
		case *ast.ValueSpec:
			d.add(g.Tok.String(), spec.Names[0].Name, spec, first(spec.Doc, spec.Comment, alone(g)))
		}
	}
}

// alone is a declaration's comment when it is about one thing.
func alone(g *ast.GenDecl) *ast.CommentGroup {
	if len(g.Specs) == 1 {
		return g.Doc
	}
	return nil
}

func first(comments ...*ast.CommentGroup) *ast.CommentGroup {
	for _, c := range comments {
		if c != nil {
			return c
		}
	}
	return nil
}

func (d *declared) add(kind, name string, node ast.Node, comment *ast.CommentGroup) {
	doc := strings.TrimSpace(comment.Text())
	from, to := int(node.Pos())-d.base, int(node.End())-d.base
	if doc == "" || from < 0 || to > len(d.text) || from >= to {
		return
	}
	code := d.text[from:to]
	d.documents = append(d.documents, document{
		ID: d.file + "#" + name, Package: path.Dir(d.file), Kind: kind, Name: name,
		Doc: cut(doc, maxTextBytes), Code: cut(code, maxTextBytes),
		Lines: strings.Count(code, "\n") + 1, Bytes: len(code),
	})
}
