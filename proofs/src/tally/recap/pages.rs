//! Rows in pages that clones share until one of them writes: a clone costs a pointer a page, so
//! readers hold a sealed recap while the ledger goes on.

use alloc::{sync::Arc, vec, vec::Vec};

/// A table of rows of `width` values each, `PAGE` rows a page. Writing copies the page if a clone
/// still has it.
#[derive(Clone, Debug)]
pub struct Pages<T, const PAGE: usize> {
    width: usize,
    rows: usize,
    pages: Vec<Arc<[T]>>,
}

impl<T: Copy, const PAGE: usize> Pages<T, PAGE> {
    /// A table of `rows` rows like `row`. Pages that nobody wrote to are one page in memory.
    pub fn filled(rows: usize, row: &[T]) -> Self {
        let page: Arc<[T]> = row.repeat(PAGE).into();
        Self { width: row.len(), rows, pages: vec![page; rows.div_ceil(PAGE)] }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// A row that is in the table.
    pub fn row(&self, row: usize) -> &[T] {
        let start = row % PAGE * self.width;
        &self.pages[row / PAGE][start..start + self.width]
    }

    /// A row that is in the table, to be written to.
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        let start = row % PAGE * self.width;
        &mut Arc::make_mut(&mut self.pages[row / PAGE])[start..start + self.width]
    }

    /// Appends a row.
    pub fn push(&mut self, row: &[T]) {
        debug_assert_eq!(row.len(), self.width);
        if self.rows == self.pages.len() * PAGE {
            self.pages.push(row.repeat(PAGE).into());
        }
        self.rows += 1;
        self.row_mut(self.rows - 1).copy_from_slice(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_what_neither_wrote() {
        let mut table = Pages::<_, 32>::filled(100, &[0_u32; 3]);
        table.row_mut(99).copy_from_slice(&[1, 2, 3]);
        let old = table.clone();
        table.row_mut(99)[0] = 9;
        table.push(&[4, 5, 6]);
        assert_eq!(old.row(99), [1, 2, 3]);
        assert_eq!(table.row(99), [9, 2, 3]);
        assert_eq!(table.row(100), [4, 5, 6]);
        assert_eq!((old.len(), table.len()), (100, 101));
        assert!(Arc::ptr_eq(&old.pages[0], &table.pages[1]), "one page for all that is empty");
        for row in 101..200_u32 {
            table.push(&[row; 3]);
        }
        assert!((101..200).all(|row| table.row(row as usize) == [row; 3]));
    }
}
