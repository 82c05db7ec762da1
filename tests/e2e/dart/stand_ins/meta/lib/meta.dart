/// The generated client imports annotations from here and uses none.
library;
