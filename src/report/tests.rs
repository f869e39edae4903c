//! The page holds what it should and asks for nothing else.

use sha2::{Digest, Sha256};

use super::{LIBRARY, MARKS, PAGE, SCRIPT, STYLE, assemble};

#[test]
fn the_library_is_the_one_that_npm_has() {
    let digest = Sha256::digest(LIBRARY);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0");
    assert!(LIBRARY.contains("t.version=\"6.1.0\"") && PAGE.contains("ECharts 6.1.0"));
}

#[test]
fn the_page_has_each_mark_once_and_in_order() {
    let places: Vec<usize> = MARKS.iter().filter_map(|mark| PAGE.find(mark)).collect();
    assert_eq!(places.len(), MARKS.len());
    assert!(places.is_sorted());
    for mark in MARKS {
        assert_eq!(PAGE.matches(mark).count(), 1, "{mark}");
        // Else one part could take the place of another.
        assert!(![STYLE, LIBRARY, SCRIPT].iter().any(|part| part.contains(mark)), "{mark}");
    }
}

#[test]
fn the_page_loads_nothing() {
    assert!(PAGE.contains("default-src 'none'"));
    for part in [PAGE, STYLE, SCRIPT] {
        for loads in [" src=", "url(", "@import", "fetch(", "XMLHttpRequest", "innerHTML", "eval("]
        {
            assert!(!part.contains(loads), "{loads}");
        }
    }
}

#[test]
fn data_end_no_element() {
    let page = assemble("[\"</script><!--<script>\"]");
    assert!(page.contains("[\"\\u003c/script>\\u003c!--\\u003cscript>\"]"));
    // The page's own elements.
    assert_eq!(page.matches("</script").count(), PAGE.matches("</script").count());
    assert_eq!(page.matches("<script").count(), PAGE.matches("<script").count());
}
