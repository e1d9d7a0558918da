"""The tasks of the LaMP benchmark, LaMP-1 to LaMP-7 and LaMP-2N."""
