// The document's own file of this name: here it is the package.
export * from "../../../src/react/index.js";
