//! Lines of words → Document. Every line that cannot be understood is told and skipped.

use super::{
    assignment::{liberty, nothing_more, quotes, read},
    diagnostic::{Diagnostic, Diagnostics, quote},
    directives::{GLOBALS, GlobalKey, SERVERS, SERVICES},
    document::{Directive, Document, Item, Server, Service, ServiceKind},
    lexer::{Line, Word, lex},
    source::{Source, Span},
};

/// No line that a person wrote is longer.
const LONGEST_LINE: usize = 64 * 1024;

/// What was written in a file. What is wrong with it goes to `diagnostics`.
#[must_use]
pub fn parse(source: Source, diagnostics: &mut Diagnostics) -> Document {
    let mut parser = Parser {
        diagnostics,
        globals: Vec::new(),
        services: Vec::new(),
        service: None,
        server: None,
        misplaced: 0,
    };
    if source.text().is_empty() {
        parser.error(Span::default(), "the file is empty");
    }
    parser.line_ends(source.text());
    let mut rest = lex(&source)
        .filter(|line| !line.words.is_empty())
        .peekable();
    while let Some(line) = rest.next() {
        let brace = rest.peek().filter(|next| is_lone_brace(next));
        if parser.line(&line, brace) == Taken::WithNextLine {
            rest.next();
        }
    }
    drop(rest);
    parser.end(&source);
    Document {
        globals: parser.globals,
        services: parser.services,
        source,
    }
}

struct Parser<'a> {
    diagnostics: &'a mut Diagnostics,
    globals: Vec<Directive<GlobalKey>>,
    services: Vec<Service>,
    /// The blocks that are open.
    service: Option<Service>,
    server: Option<Server>,
    /// Blocks that were opened where they must not be; their braces are to be forgiven.
    misplaced: usize,
}

/// How much of the file a step took.
#[derive(PartialEq)]
enum Taken {
    Line,
    WithNextLine,
}

impl Parser<'_> {
    fn line(&mut self, line: &Line, brace: Option<&Line>) -> Taken {
        let Some((first, rest)) = line.words.split_first() else {
            return Taken::Line;
        };
        if line.span.end - line.span.start > LONGEST_LINE {
            self.error(
                line.span,
                format!("the line is longer than {LONGEST_LINE} bytes"),
            );
            return Taken::Line;
        }
        if first.quote.is_some() {
            self.diagnostics.push(
                Diagnostic::error(first.span, "a directive's name cannot be quoted")
                    .help("remove the quotes"),
            );
            return Taken::Line;
        }
        match first.text.as_str() {
            "}" => self.close(line, rest),
            "{" => self.error(first.span, "this brace belongs to no block"),
            "virtual" => return self.open(ServiceKind::Virtual, line, brace),
            "failover" => return self.open(ServiceKind::Failover, line, brace),
            "server" => return self.open_server(line, brace),
            _ => self.directive(line),
        }
        Taken::Line
    }

    /// A block on one line is refused as Piranha did, but it does end there.
    fn close_one_line_block(&mut self, line: &Line) {
        if line.words.last().is_some_and(|last| last.is("}")) {
            self.close(line, &[]);
        }
    }

    /// `name = value` goes to the innermost block.
    fn directive(&mut self, line: &Line) {
        let Self {
            diagnostics,
            globals,
            service,
            server,
            ..
        } = self;
        match (service, server) {
            (_, Some(server)) => {
                server
                    .directives
                    .extend(read(SERVERS, "a server block", line, diagnostics));
            }
            (Some(service), None) => {
                let place = match service.kind {
                    ServiceKind::Virtual => "a virtual block",
                    ServiceKind::Failover => "a failover block",
                };
                let directive = read(SERVICES, place, line, diagnostics);
                service.items.extend(directive.map(Item::Directive));
            }
            (None, None) => globals.extend(read(GLOBALS, "the global part", line, diagnostics)),
        }
    }

    fn open(&mut self, kind: ServiceKind, line: &Line, brace: Option<&Line>) -> Taken {
        if let Some(open) = &self.service {
            let name = quote(&open.name.text);
            self.diagnostics.push(
                Diagnostic::error(line.span, format!("a {} block inside a block", kind.word()))
                    .help(format!("close {} {name} above with `}}`", open.kind.word())),
            );
            self.finish_service(line.span.start);
            self.misplaced += 1;
        }
        let (name, taken) = self.header(line, brace);
        self.service = Some(Service {
            kind,
            name,
            items: Vec::new(),
            span: line.span,
        });
        self.close_one_line_block(line);
        taken
    }

    fn open_server(&mut self, line: &Line, brace: Option<&Line>) -> Taken {
        if self.server.is_some() {
            self.diagnostics.push(
                Diagnostic::error(line.span, "a server block inside a server block")
                    .help("close the one above with `}`"),
            );
            self.finish_server(line.span.start);
            self.misplaced += 1;
        } else if self.service.is_none() {
            self.diagnostics.push(
                Diagnostic::error(line.span, "a server block outside of a virtual block")
                    .help("is there a `}` too many above?"),
            );
        }
        let (name, taken) = self.header(line, brace);
        self.server = Some(Server {
            name,
            directives: Vec::new(),
            span: line.span,
        });
        self.close_one_line_block(line);
        taken
    }

    /// `virtual NAME {`, or a variation of it that can be understood.
    fn header(&mut self, line: &Line, brace: Option<&Line>) -> (Word, Taken) {
        let after = line.words.get(1..).unwrap_or_default();
        let mut name = Word {
            text: String::new(),
            span: line.span,
            quote: None,
            fault: None,
        };
        let keyword = line.words.first().map_or("", |word| word.text.as_str());
        let (first, rest) = match after.split_first() {
            Some((first, rest)) if !first.is("{") => (first, rest),
            _ => {
                self.error(line.span, format!("missing arguments: {keyword} NAME {{"));
                return (name, Taken::Line);
            }
        };
        name.clone_from(first);
        self.quotes(first);
        match rest {
            [open, extra @ ..] if open.is("{") => {
                self.nothing_more(extra);
                (name, Taken::Line)
            }
            _ if rest.first().is_none_or(Word::begins_comment) => {
                self.nothing_more(rest);
                if let Some(stem) = name.text.strip_suffix('{').filter(|_| name.quote.is_none()) {
                    self.liberty(name.span, "the brace touches the name");
                    name.text = stem.to_owned();
                    return (name, Taken::Line);
                }
                if let Some(brace) = brace {
                    self.liberty(brace.span, "the brace is not on the line of its block");
                    return (name, Taken::WithNextLine);
                }
                self.error(line.span, format!("missing arguments: {keyword} NAME {{"));
                (name, Taken::Line)
            }
            _ => {
                self.nothing_more(rest);
                (name, Taken::Line)
            }
        }
    }

    fn close(&mut self, line: &Line, rest: &[Word]) {
        if let Some(extra) = rest.first().filter(|word| !word.begins_comment()) {
            let message = format!("{} after the closing brace is ignored", quote(&extra.text));
            self.diagnostics
                .push(Diagnostic::warning(extra.span, message));
        }
        if self.server.is_some() {
            self.finish_server(line.span.end);
        } else if self.service.is_some() {
            self.finish_service(line.span.end);
        } else if self.misplaced > 0 {
            self.misplaced -= 1;
        } else {
            self.error(line.span, "a closing brace without a block");
        }
    }

    fn end(&mut self, source: &Source) {
        let at = Span {
            start: source.text().len(),
            end: source.text().len(),
        };
        let names = [
            self.server
                .as_ref()
                .map(|server| ("server", server.name.clone())),
            self.service
                .as_ref()
                .map(|service| (service.kind.word(), service.name.clone())),
        ];
        for (keyword, name) in names.into_iter().flatten() {
            let name_shown = quote(&name.text);
            self.diagnostics.push(
                Diagnostic::warning(name.span, format!("{keyword} {name_shown} is never closed"))
                    .help("the block goes to the end of the file; add `}`"),
            );
        }
        self.finish_service(at.end);
    }

    fn finish_server(&mut self, end: usize) {
        if let Some(mut server) = self.server.take() {
            server.span.end = end;
            // A server outside of a service has been told of, and belongs nowhere.
            if let Some(service) = &mut self.service {
                service.items.push(Item::Server(server));
            }
        }
    }

    fn finish_service(&mut self, end: usize) {
        self.finish_server(end);
        if let Some(mut service) = self.service.take() {
            service.span.end = end;
            self.services.push(service);
        }
    }

    fn line_ends(&mut self, text: &str) {
        let start = Span::default();
        if text.starts_with('\u{feff}') {
            self.liberty(start, "the file begins with a byte order mark");
        }
        // Files with CR alone were read by Piranha as they are here.
        if text.contains("\r\n") {
            self.diagnostics.push(
                Diagnostic::warning(start, "lines end with CR and LF")
                    .help("fine here, but Piranha silently ignored all lines but the first")
                    .liberty(),
            );
        }
    }

    fn nothing_more(&mut self, extra: &[Word]) {
        nothing_more(extra, self.diagnostics);
    }

    fn quotes(&mut self, word: &Word) {
        quotes(word, self.diagnostics);
    }

    fn liberty(&mut self, span: Span, message: &str) {
        liberty(span, message, self.diagnostics);
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(span, message));
    }
}

fn is_lone_brace(line: &Line) -> bool {
    match line.words.as_slice() {
        [brace] => brace.is("{"),
        [brace, comment, ..] => brace.is("{") && comment.begins_comment(),
        [] => false,
    }
}
