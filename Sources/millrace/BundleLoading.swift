import Bundles
import Families

/// The model in a bundle, by its family.
func loadModel(_ bundle: ModelBundle) throws(BundleError) -> LoadedModel {
  throw BundleError(
    place: "\(bundle.path): manifest.family", reason: "this build has no family \"\(bundle.manifest.family)\": update millrace, or import the model again")
}
