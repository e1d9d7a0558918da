"""The seven tasks of the LaMP benchmark."""
