//! Lemma 0 of `docs/privacy.md`: what an expression is for a row does not depend on other rows, nor
//! on how a reader cuts rows into chunks.

use std::collections::BTreeSet;

use polars::prelude::{
    DataFrame, DataType, Engine, IdxCa, IntoColumn, IntoLazy, NamedFrom, Series, TimeUnit,
};
use polars::series::IsSorted;

use super::sound::sound;
use crate::job::SqlExpression;

/// Every kind of expression that a job may have; `N` is a whole number, `X` a float, `T` a text,
/// `W` a time as text in many formats, `S` a timestamp, `D` a date, `B` a truth, `L` a list.
const EXPRESSIONS: &str = "
N; X; T; S; D; B; N + 1; N - X; N * N; N / 3; X / N; N // 3; N % 3; -N; -X; X / 0; N / 0; N > 2
N <= 1; N = 3; N <> 3; X > 0.5; X = X; X <= N; T > 'b'; T = 'a'; T <> 'a'; N > 2 AND NOT B
B OR X > 0; N BETWEEN 1 AND 5; N NOT BETWEEN 1 AND 5; T BETWEEN 'a' AND 'c'; N IN (1, 2)
N NOT IN (1, 2); T IN ('a', 'b'); T NOT IN ('a'); X IN (0.5, 1.0); N IS NULL; N IS NOT NULL
B IS TRUE; B IS NOT TRUE; B IS FALSE; N IS DISTINCT FROM 3; N IS NOT DISTINCT FROM X
CASE WHEN N > 2 THEN 'hi' ELSE 'lo' END; CASE WHEN X > 0.5 THEN T WHEN B THEN 'b' END
CASE T WHEN 'a' THEN 1 WHEN 'b' THEN 2 ELSE N END; IF(N > 2, T, 'x'); COALESCE(T, 'none')
COALESCE(N, X, 0); IFNULL(T, 'none'); NULLIF(N, 3); GREATEST(N, X, 2); LEAST(N, X)
CAST(N AS BIGINT); CAST(X AS BIGINT); CAST(T AS BIGINT); CAST(N AS TEXT); CAST(X AS TEXT)
CAST(T AS DOUBLE); CAST(N AS BOOLEAN); CAST(S AS DATE); CAST(D AS TIMESTAMP); CAST(W AS DATE)
CAST(W AS TIMESTAMP); CAST(W AS TIME); CAST(N AS SMALLINT); CAST(X AS DECIMAL(20, 2))
CAST(T AS DECIMAL(20, 2)); TRY_CAST(T AS INT); T::int; W::date; DATE(W); DATE(W, '%d.%m.%Y')
STRPTIME(W, '%Y-%m-%d'); STRPTIME(W, '%d.%m.%Y'); TIME(W); TIME(W, '%H:%M'); TIMESTAMP(W)
TIMESTAMP(W, '%Y-%m-%d %H:%M:%S'); STRFTIME(S, '%Y-%m'); STRFTIME(D, '%d.%m')
DATE_PART('year', S); DATE_PART('isodow', D); EXTRACT(MONTH FROM S); EXTRACT(HOUR FROM S)
EXTRACT(EPOCH FROM S); S > '2025-01-15'; D >= DATE('2025-01-15'); S + INTERVAL '1 day'
S - INTERVAL '2 hours'; D BETWEEN '2025-01-02' AND '2025-01-20'; BIT_AND(N, 3); BIT_OR(N, 3)
BIT_XOR(N, 3); BIT_NOT(N); BIT_COUNT(N); N & 3; N | 3; ABS(N); ABS(X); CEIL(X); FLOOR(X)
ROUND(X); ROUND(X, 2); TRUNCATE(X, 1); SIGN(X); SQRT(X); CBRT(X); EXP(X); LN(X); LOG(X, 10)
LOG2(X); LOG10(X); LOG1P(X); POW(X, 2); POW(N, 2); POW(2, X); POW(2.5, N); POW(X, N); POW(N, X); POW(X, X); POW(N, N); MOD(N, 3); DIV(N, 3); SIN(X); COS(X); TAN(X); COT(X)
SIND(X); COSD(X); TAND(X); COTD(X); ACOS(X); ASIN(X); ATAN(X); ATAN2(X, N); ACOSD(X); ASIND(X)
ATAND(X); ATAN2D(X, N); DEGREES(X); RADIANS(X); PI() * X; T || '-' || T; T || N; CONCAT(T, W)
CONCAT_WS(':', T, W); UPPER(T); LOWER(T); INITCAP(T); LENGTH(T); BIT_LENGTH(T); OCTET_LENGTH(T)
LEFT(T, 2); RIGHT(T, 2); LEFT(T, N); SUBSTR(T, 2); SUBSTR(T, 2, 2); SUBSTR(T, N, 2)
LPAD(T, 4, 'x'); RPAD(T, 4, 'x'); TRIM(T); LTRIM(T); RTRIM(T); TRIM(LEADING 'a' FROM T)
REPLACE(T, 'a', 'b'); REPLACE(T, 'a', W); REPLACE(T, W, 'b'); REVERSE(T); SPLIT_PART(W, '-', 2); STRPOS(T, 'b'); POSITION('b' IN T)
STARTS_WITH(T, 'a'); ENDS_WITH(T, 'a'); REGEXP_LIKE(T, '^a'); T LIKE 'a%'; T NOT LIKE '_b%'
T ILIKE 'A%'; T RLIKE 'a+'; T ~ '^a'; T !~* '^A'; T LIKE T; STARTS_WITH(W, T); NORMALIZE(T, NFC)
ARRAY_LENGTH(L); ARRAY_GET(L, 1); ARRAY_SUM(L); ARRAY_MEAN(L); ARRAY_CONTAINS(L, 2)
ARRAY_SUM(F); ARRAY_MEAN(F); ARRAY_LENGTH(F); ARRAY_GET(F, 1); ARRAY_MIN(F); ARRAY_MAX(F); ARRAY_UPPER(F); ARRAY_LOWER(F); ARRAY_UNIQUE(F); ARRAY_REVERSE(F); ARRAY_TO_STRING(F, ',')
STRING_TO_ARRAY('a-b', T); SPLIT_PART('x-y-z', T, 2)
LOG(X, N); LOG(N, X); LOG(2, N); LOG(10, X); ATAN2(N, X); ATAN2(X, 2); ATAN2(2, X); ATAN2(N, N); MOD(N, X); MOD(X, N); MOD(N, N); MOD(7, N)
DIV(N, N); DIV(7, N); N / X; X / N; X / X; N / N; N % N; N * X; X * X; 2 * X; 2 - X; X - X; X + N; X > N; X = X; N = N; N < X
ROUND(X, N); TRUNCATE(X, N); LEFT(T, 2); RIGHT(T, N); LEFT('abc', N); RIGHT('abc', N); SUBSTR('abc', N, 2); SUBSTR(T, N, N); LPAD(T, N, 'x'); RPAD(T, N, 'x'); LPAD('a', N, 'x')
STRPOS(T, W); STRPOS('x-y', T); STRPOS(W, T); SPLIT_PART(W, T, 2); SPLIT_PART(W, '-', N); STRING_TO_ARRAY(W, T); STARTS_WITH(T, W); STARTS_WITH('abc', T); ENDS_WITH(T, W); ENDS_WITH('abc', T)
REGEXP_LIKE(T, W); REGEXP_LIKE('abc', T); T RLIKE W; 'abc' LIKE T; 'a' || T; T || W; CONCAT_WS(T, W, T); CONCAT('a', T, W); ARRAY_GET(L, N); ARRAY_CONTAINS(L, N); ARRAY_GET(F, N); ARRAY_CONTAINS(F, X); ARRAY_CONTAINS(F, 0.5); ARRAY_CONTAINS(F, 2)
ARRAY_TO_STRING(L, T); DATE(W, T); STRPTIME(W, T); TIMESTAMP(W, T); BIT_AND(N, N); BIT_OR(7, N); BIT_XOR(N, N); IF(B, N, X); IF(B, 1, 2); NULLIF(N, X); NULLIF(T, W); IFNULL(T, W); COALESCE(X, N)
STRFTIME(S, T); DATE_PART('week', S); S > D; S - D; D - D; D = D; N IN (1, 2, N); N BETWEEN X AND N; T BETWEEN 'a' AND W; REPLACE(W, '-', ''); CONCAT(N, X); B AND N > 2; NOT B OR X > N
ARRAY_REVERSE(L); ARRAY_UNIQUE(L); ARRAY_TO_STRING(L, ',')
ARRAY_LENGTH(STRING_TO_ARRAY(W, '-')); UNNEST(L); N = ANY(L); SUM(N); MAX(N); FIRST(T); COUNT(N)
N - AVG(N); ROW_NUMBER() OVER (ORDER BY N)
";

/// Rows with nulls, numbers that are none, and texts of every form. The whole numbers claim to be
/// sorted.
fn table() -> DataFrame {
    let rows = 48usize;
    let some = |i: usize, every: usize| i % every != every - 1;
    let whole: Vec<Option<i64>> =
        (0..rows).map(|i| some(i, 49).then_some((i * 7 % 11) as i64 - 3)).collect();
    let odd = [0.5, f64::NAN, -0.0, f64::INFINITY, -1.25, 2.675, 1e300, f64::NEG_INFINITY];
    let float: Vec<Option<f64>> =
        (0..rows).map(|i| some(i, 7).then_some(odd[i % 8] + (i % 3) as f64)).collect();
    let texts = ["a", "b", "", "abc", "Äpfel", "12", "1.5", " a ", "12,5", "-7", "x-y-z", "aa%_"];
    let text: Vec<Option<&str>> =
        (0..rows).map(|i| some(i, 5).then_some(texts[i * 5 % 12])).collect();
    let times = [
        "31.01.2025",
        "2025-01-31",
        "01/02/2025",
        "2025-01-31 10:00:00",
        "2025-02-01T10:00:00Z",
        "10:30",
        "20250201",
        "2025-01-31 10:00",
        "31-01-2025",
        "noon",
        "2025-13-01",
        "10:30:15",
    ];
    let time: Vec<Option<&str>> = (0..rows).map(|i| some(i, 9).then_some(times[i % 12])).collect();
    let day = |i: usize| some(i, 6).then_some(20_089 + i as i32);
    let micros = |day: i32| i64::from(day) * 86_400_000_000 + 4_567_890_123;
    let days: Vec<Option<i32>> = (0..rows).map(day).collect();
    let moments: Vec<Option<i64>> = days.iter().map(|day| day.map(micros)).collect();
    let stamp = DataType::Datetime(TimeUnit::Microseconds, None);
    let truth: Vec<Option<bool>> = (0..rows).map(|i| some(i, 4).then_some(i % 3 == 0)).collect();
    let list = |i: i64| Series::new("".into(), (0..i % 4).map(|k| k + i % 3).collect::<Vec<_>>());
    let lists: Vec<Series> = (0..rows as i64).map(list).collect();
    // Of none, of few with a null, and of many.
    let floats = |i: usize| -> Series {
        let value = |k: usize| (k % 5 != i % 7).then_some(0.1 * (k + i) as f64);
        Series::new("".into(), (0..[0, 3, 200][i % 3]).map(value).collect::<Vec<_>>())
    };
    let floats: Vec<Series> = (0..rows).map(floats).collect();
    let mut whole = Series::new("N".into(), whole);
    whole.set_sorted_flag(IsSorted::Ascending);
    let columns = vec![
        whole.into_column(),
        Series::new("X".into(), float).into_column(),
        Series::new("T".into(), text).into_column(),
        Series::new("W".into(), time).into_column(),
        Series::new("S".into(), moments).cast(&stamp).expect("timestamps").into_column(),
        Series::new("D".into(), days).cast(&DataType::Date).expect("dates").into_column(),
        Series::new("B".into(), truth).into_column(),
        Series::new("L".into(), lists).into_column(),
        Series::new("F".into(), floats).into_column(),
    ];
    DataFrame::new(rows, columns).expect("a table")
}

/// The expression's value at each row, as text; `None` if it stops at one.
fn values(table: &DataFrame, expression: &SqlExpression, engine: Engine) -> Option<Vec<String>> {
    let expr = sound(expression.expr.clone(), table.schema());
    let query = table.clone().lazy().select([expr.alias("x")]);
    #[expect(clippy::disallowed_methods, reason = "a test's table")]
    let found = query.collect_with_engine(engine).ok()?.unwrap_single();
    let found = found.column("x").expect("asked");
    assert_eq!(found.len(), table.height(), "{}", expression.text);
    (0..found.len())
        .map(|row| found.get(row).ok().map(|value| format!("{:?}", value.into_static())))
        .collect()
}

#[test]
fn an_accepted_expression_looks_at_its_own_row_alone() {
    let table = table();
    let rows = table.height();
    let (mut tried, mut refused, mut stopped) = (0, 0, Vec::new());
    let mut others = BTreeSet::new();
    let mut same = |text: &str, found: Option<Vec<String>>, wanted: &[String]| {
        if found.as_deref() != Some(wanted) {
            let row = found.iter().flatten().zip(wanted).find(|(a, b)| a != b);
            others.insert(format!("{text}: {row:?}"));
        }
    };
    for text in EXPRESSIONS.split([';', '\n']).map(str::trim).filter(|text| !text.is_empty()) {
        let Ok(expression) = SqlExpression::parse("where", text, 0..1) else {
            refused += 1;
            continue;
        };
        let Some(whole) = values(&table, &expression, Engine::InMemory) else {
            stopped.push(text);
            continue;
        };
        tried += 1;
        for size in [1, 2, 5, 17] {
            let parts = (0..rows).step_by(size).map(|at| table.slice(at as i64, size));
            let mut found = Vec::new();
            let mut chunks: Option<DataFrame> = None;
            for part in parts {
                found.extend(values(&part, &expression, Engine::InMemory).unwrap_or_default());
                chunks =
                    Some(chunks.map_or(part.clone(), |above| above.vstack(&part).expect("alike")));
            }
            same(text, Some(found), &whole);
            let chunks = chunks.expect("rows");
            for engine in [Engine::InMemory, Engine::Streaming] {
                same(text, values(&chunks, &expression, engine), &whole);
            }
        }
        for first in 0..3 {
            let places: Vec<u32> = (first..rows as u32).step_by(3).rev().collect();
            let some = table.take(&IdxCa::from_vec("".into(), places.clone())).expect("rows");
            let wanted: Vec<String> =
                places.iter().map(|&row| whole[row as usize].clone()).collect();
            same(text, values(&some, &expression, Engine::InMemory), &wanted);
        }
    }
    assert!(others.is_empty(), "other rows change {others:?}");
    assert!(tried > 100, "{tried} tried, {refused} refused, stopped: {stopped:?}");
}
