//! How large an SQL expression may be.
//!
//! What stands side by side is nested for a parser: `a OR b OR c` is `(a OR b) OR c`. All that goes
//! through an expression, ours and polars', does so on its stack, which of threads has 2 MiB: there
//! a thousand operators are gone into, and two thousand end the process. And the time that it takes
//! grows with the square of them, or worse.

use polars::prelude::Expr;
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::findings::{self, Finding};

/// Operators, and words such as AND and WHEN that are some.
const OPERATORS_MAX: usize = 500;

/// Columns, values, operators and functions, with those that are added so that a row that is alone
/// comes to the same. What a constant is subtracted from or divided by counts twice each time.
const PARTS_MAX: usize = 10_000;

/// How deep the parser goes.
const LEVELS: usize = 50;

/// Words that are operators.
const WORDS: [Keyword; 12] = [
    Keyword::AND,
    Keyword::OR,
    Keyword::XOR,
    Keyword::NOT,
    Keyword::WHEN,
    Keyword::IS,
    Keyword::IN,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::RLIKE,
    Keyword::REGEXP,
    Keyword::BETWEEN,
];

/// What a text is made of, without spaces; nothing of what is no SQL, which the parser tells.
fn tokens(text: &str) -> Vec<Token> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().unwrap_or_default();
    tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect()
}

fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_none() && WORDS.contains(&word.keyword),
        Token::Number(..)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::LBracket
        | Token::RBracket
        | Token::SemiColon
        | Token::EOF => false,
        // Signs, also rare ones.
        _ => true,
    }
}

/// Refuses a text that nothing should be made of.
pub(super) fn fits(key: &str, text: &str) -> Result<(), Finding> {
    let found = tokens(text).iter().filter(|token| is_operator(token)).count();
    if found <= OPERATORS_MAX {
        return Ok(());
    }
    let operators = format!("{found} operators (AND, OR, WHEN, = and others)");
    Err(findings::sql_too_large(key, &operators, OPERATORS_MAX))
}

/// The same of what was made of it.
pub(super) fn has_room(key: &str, expr: &Expr) -> Result<(), Finding> {
    if expr.into_iter().take(PARTS_MAX + 1).count() <= PARTS_MAX {
        return Ok(());
    }
    let parts = "too many parts, as what a constant is subtracted from or divided by counts twice";
    Err(findings::sql_too_large(key, parts, PARTS_MAX))
}

/// Why a text that polars has refused is nested too deeply, if so.
pub(super) fn too_deep(key: &str, text: &str) -> Option<Finding> {
    let depth = depth(&tokens(text));
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(text);
    let parsed = parsed.and_then(|mut parser| parser.parse_expr());
    let ends = matches!(parsed, Err(ParserError::RecursionLimitExceeded));
    (ends || depth >= LEVELS).then(|| findings::sql_too_deep(key, depth, LEVELS))
}

/// How many brackets, CASE, NOT and signs stand within each other.
fn depth(tokens: &[Token]) -> usize {
    let (mut open, mut before, mut deepest) = (0usize, 0, 0);
    for token in tokens {
        let keyword = match token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
            _ => None,
        };
        match (token, keyword) {
            (Token::LParen, _) | (_, Some(Keyword::CASE)) => open += 1,
            (Token::RParen, _) | (_, Some(Keyword::END)) => open = open.saturating_sub(1),
            _ => {}
        }
        let is_sign = matches!(token, Token::Minus | Token::Plus) || keyword == Some(Keyword::NOT);
        before = if is_sign { before + 1 } else { 0 };
        deepest = deepest.max(open + before);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::SqlExpression;

    /// On half the stack that a thread has.
    fn told(text: String) -> String {
        let parse = move || {
            let parsed = SqlExpression::parse("where", &text, 0..1);
            parsed.err().map(|finding| format!("{}: {}", finding.code(), finding.message()))
        };
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        let ended = thread.spawn(parse).expect("starts").join().expect("has room");
        ended.unwrap_or_default()
    }

    fn chain(part: &str, operator: &str, count: usize) -> String {
        vec![part; count].join(operator)
    }

    #[test]
    fn as_many_operators_as_there_may_be_have_room() {
        for text in [
            chain("a = 1", " OR ", OPERATORS_MAX / 2),
            chain("a = 1", " AND ", OPERATORS_MAX / 2),
            chain("a", " + ", OPERATORS_MAX),
            chain("a", " = ", OPERATORS_MAX),
            chain("s", " || ", OPERATORS_MAX),
            format!("CASE {} ELSE 1 END", "WHEN a = 1 THEN 2 ".repeat(OPERATORS_MAX / 2)),
            format!("a IN ({})", chain("1", ", ", 100_000)),
            format!("COALESCE({})", chain("a", ", ", 2_000)),
            format!("{}a{}", "(".repeat(40), ")".repeat(40)),
            "1 / (1 - (1 - a)) - 1 - 1".to_owned(),
        ] {
            assert_eq!(told(text.clone()), "", "{}", &text[..text.len().min(80)]);
        }
    }

    #[test]
    fn what_is_larger_is_refused_and_ends_nothing() {
        for text in [
            chain("a = 1", " OR ", 6_000),
            chain("a = 1", " AND ", 1_000_000),
            chain("a", " + ", OPERATORS_MAX + 2),
            chain("a", " = ", 5_000),
            chain("s", " || ", 5_000),
            format!("CASE {} ELSE 1 END", "WHEN a = 1 THEN 2 ".repeat(5_000)),
            format!("{}a > 1", "NOT ".repeat(10_000)),
            // The parts, not the operators.
            format!("a{}", " - 1".repeat(40)),
            format!("{}a", "- ".repeat(40)),
        ] {
            let said = told(text.clone());
            let many = "sql-too-large: `where` is too large: it has";
            assert!(said.starts_with(many), "{}: {said}", &text[..text.len().min(80)]);
        }
        let case = "CASE WHEN a = 1 THEN 2 ELSE ";
        for (text, depth) in [
            (format!("{}a{}", "(".repeat(300), ")".repeat(300)), 300),
            (format!("{}a{}", "ABS(".repeat(100_000), ")".repeat(100_000)), 100_000),
            (format!("{}a > 1", "NOT ".repeat(300)), 300),
            (format!("{}a", "- ".repeat(300)), 300),
            (format!("{}a{}", case.repeat(100), " END".repeat(100)), 100),
            (format!("{}a{}", "(1 + ".repeat(40), ")".repeat(40)), 41),
        ] {
            let said = told(text);
            let deep = format!("CASE, NOT and signs are {depth} deep, ");
            assert!(said.contains(&deep), "{depth}: {said}");
        }
    }
}
