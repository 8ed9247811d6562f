// Nothing: a target needs a source, and this one is there for the headers that tests share (cmake/HunchFolder.cmake).
