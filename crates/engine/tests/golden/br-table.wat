(module
  (func (param i32) (result i32)
    (block $c (block $b (block $a
      (br_table $a $b $c (local.get 0)))
      (return (i32.const 10)))
      (return (i32.const 20)))
    (i32.const 30)))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @0021                               br_table v1, block2, [block4, block3]
;;
;;                                 block4:
;; @0027                               v3 = iconst.i32 10
;; @0029                               return v3  ; v3 = 10
;;
;;                                 block3:
;; @002b                               v4 = iconst.i32 20
;; @002d                               return v4  ; v4 = 20
;;
;;                                 block2:
;; @002f                               v5 = iconst.i32 30
;; @0031                               return v5  ; v5 = 30
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movl $0x2, %edi
;;   movl %esi, %r8d
;;   cmpl %edi, %r8d
;;   cmovbl %r8d, %edi
;;   br_table %rdi, %rcx, %rax
;; block1:
;;   movl $0x14, %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block2:
;;   movl $0xa, %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block3:
;;   movl $0x1e, %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
