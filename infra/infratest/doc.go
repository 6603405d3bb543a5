// Package infratest holds the tests of infra/ that Terraform's own test command cannot express: properties of a whole
// state, of a plan made by the real provider, and of an apply against moto_server. It has no code of its own.
//
// All of it runs without credentials, in copies of infra/ below a temporary folder. Terraform comes from
// scripts/terraform; where that finds none, the tests are skipped, or fail if HOLDFAST_REQUIRE_TOOLS is set.
//
//   - go test ./infra/infratest runs the properties, about a minute.
//   - HOLDFAST_MOTO=1 adds TestMoto: apply, output, a second plan and destroy against a moto_server that the test
//     starts. It takes minutes.
//   - HOLDFAST_MUTATE=1 adds TestEveryValidationHasAFailingCase, which switches off one validation after the other
//     and wants the cases of tests/inputs.tftest.hcl to notice.
package infratest
